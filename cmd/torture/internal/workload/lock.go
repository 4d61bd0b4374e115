package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	lockActors = 3
	lockTTL    = 300 * time.Millisecond
	// lockWrites is how many guarded writes a holder tries at most: more than
	// there is time for, so that some come too late.
	lockWrites = 6
)

type lock struct {
	env    Env
	follow *followers
}

func newLock(e Env) Workload { return &lock{e, newFollowers(e)} }

func (w *lock) Run(ctx context.Context) {
	w.follow.readers(1, wire.Feed{Workflow: "lock"})
	w.env.actors(ctx, lockActors, w.one)
}

// one takes the lock if it is free, and writes under its guard for as long as
// that goes well, or longer than it holds. Half of the holders let go, the
// others leave it to the TTL.
func (w *lock) one(ctx context.Context, a *actor) {
	r := wire.Request{Kind: history.SetAt, Workflow: "lock", Key: "lock", Value: fmt.Sprintf(`"%d-%x"`, a.id, a.rng.Uint64()), TTL: lockTTL}
	grant := a.do(ctx, a.node(), r)
	if !grant.Wrote() {
		a.rest(ctx, 10*time.Millisecond, lockTTL/2)
		return
	}
	token := grant.Version
	for range 1 + a.rng.IntN(lockWrites) {
		write := a.do(ctx, a.node(), wire.Request{Kind: history.Atomic, Workflow: "lock", Steps: []history.Step{
			{Kind: history.Get, Key: "lock", Expected: &token},
			{Kind: history.Set, Key: "guarded", Value: fmt.Sprintf(`"%d by %x"`, token, a.rng.Uint64())},
		}})
		if write.Conflict && a.rng.IntN(4) > 0 {
			return
		}
		a.rest(ctx, 10*time.Millisecond, lockTTL/2)
	}
	if a.rng.IntN(2) == 0 {
		a.do(ctx, a.node(), wire.Request{Kind: history.Delete, Workflow: "lock", Key: "lock", If: history.IfVersion, Expected: token})
	}
}

// Finish waits until the lock is free by itself, so that nothing happens any more
// behind the end of the workflow.
func (w *lock) Finish(ctx context.Context) error {
	sleep(ctx, 5*lockTTL*time.Duration(max(w.env.Slack, 1)))
	return w.follow.finish(ctx)
}
