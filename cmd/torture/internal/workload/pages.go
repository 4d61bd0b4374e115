package workload

import (
	"context"
	"fmt"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	pagesActors = 2
	pagesKeys   = 40
	// pagesMost bounds the pages of one list: more than its keys.
	pagesMost = 2 * pagesKeys
)

type pages struct {
	env    Env
	follow *followers
}

func newPages(e Env) Workload { return &pages{e, newFollowers(e)} }

func (w *pages) Run(ctx context.Context) {
	w.follow.readers(1, wire.Feed{Workflow: "pages"})
	w.env.actors(ctx, pagesActors, w.one)
}

// one lets some keys come and go, then reads the list to its end, while others
// do the same.
func (w *pages) one(ctx context.Context, a *actor) {
	for range 3 {
		r := wire.Request{Kind: history.Set, Workflow: "pages", Key: fmt.Sprintf("%02d", a.rng.IntN(pagesKeys))}
		if a.rng.IntN(3) == 0 {
			r.Kind = history.Delete
		} else {
			r.Value = fmt.Sprintf(`"%d-%x"`, a.id, a.rng.Uint64())
		}
		a.do(ctx, a.node(), r)
	}
	q := history.Query{Prefix: []string{"", "", "1"}[a.rng.IntN(3)], Limit: 3 + a.rng.IntN(10), Reverse: a.rng.IntN(2) == 0}
	for range pagesMost {
		page := a.do(ctx, a.node(), wire.Request{Kind: history.List, Workflow: "pages", Query: q})
		if q.After = page.Next; q.After == "" || ctx.Err() != nil {
			return
		}
	}
}

func (w *pages) Finish(ctx context.Context) error { return w.follow.finish(ctx) }
