package workload

import (
	"context"
	"fmt"
	"sync"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const sessionActors = 4

type session struct {
	env    Env
	tokens sync.Map // of sessions, by client
}

func newSession(e Env) Workload { return &session{env: e} }

func (w *session) Run(ctx context.Context) { w.env.actors(ctx, sessionActors, w.one) }

// one writes the session's own key, or reads its own or another's, at any node
// and from nothing older than the last answer.
func (w *session) one(ctx context.Context, a *actor) {
	token := uint64(0)
	if t, ok := w.tokens.Load(a.id); ok {
		token = t.(uint64)
	}
	r := wire.Request{Kind: history.Set, Workflow: "session", Key: fmt.Sprint("k", a.id)}
	if a.rng.IntN(3) == 0 {
		r.Value = fmt.Sprintf(`"%d-%x"`, a.id, a.rng.Uint64())
	} else {
		r.Kind, r.Stale, r.MinRevision = history.Get, true, token
		if a.rng.IntN(3) == 0 {
			r.Key = fmt.Sprint("k", a.id+1)
		}
	}
	op := a.do(ctx, a.node(), r)
	if op.Outcome == history.OK {
		w.tokens.Store(a.id, max(token, op.Revision))
	}
}

func (w *session) Finish(context.Context) error { return nil }
