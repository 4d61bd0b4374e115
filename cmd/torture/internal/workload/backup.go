package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
	"github.com/stateraft/stateraft/cmd/torture/internal/wire"
)

const (
	backupPause = 4 * time.Second
	backupKeys  = 5
	// backupTTL is longer than any run, so that the ends of keys can be compared.
	backupTTL = 48 * time.Hour
	// resumeLimit bounds how long a stream may take to tell all keys, and spareLimit
	// what is asked of the other cluster about one backup in all. Nobody hurts
	// that cluster, but what hurts the machine may silence it for a moment.
	resumeLimit = 5 * time.Second
	spareLimit  = 30 * time.Second
)

// backup takes backups from any node while everybody works, restores each into
// another cluster, also damaged, and records what that cluster shows.
type backup struct {
	env    Env
	follow *followers
	spare  *wire.Node // nil: there is none
	stop   func()
	failed error // why there is none
}

func newBackup(e Env) Workload { return &backup{env: e, follow: newFollowers(e), stop: func() {}} }

func (w *backup) Run(ctx context.Context) {
	w.follow.readers(1, wire.Feed{Workflow: "backup"})
	if w.env.Spare != nil {
		spare, stop, err := w.env.Spare(ctx)
		switch {
		case err == nil:
			w.spare, w.stop = spare, stop
		case ctx.Err() == nil: // else there was no time for it
			w.failed = err
		}
	}
	a := &actor{env: w.env, id: w.env.Record.NewClient(), rng: w.env.rng("backup")}
	for ctx.Err() == nil {
		w.change(ctx, a)
		w.one(ctx, a)
		a.rest(ctx, backupPause/2, backupPause)
	}
}

// change writes keys, some of which end, and deletes one.
func (w *backup) change(ctx context.Context, a *actor) {
	for i := range backupKeys {
		r := wire.Request{Kind: history.Set, Workflow: "backup", Key: fmt.Sprint("k", i), Value: fmt.Sprintf(`"%x"`, a.rng.Uint64())}
		if i%2 == 0 {
			r.TTL = backupTTL
		}
		a.do(ctx, a.node(), r)
	}
	a.do(ctx, a.node(), wire.Request{Kind: history.Delete, Workflow: "backup", Key: fmt.Sprint("k", a.rng.IntN(backupKeys))})
}

// one takes a backup, and between two lists of keys that end, so that their
// instants are known.
func (w *backup) one(ctx context.Context, a *actor) {
	n := a.node()
	list := wire.Request{Kind: history.List, Workflow: "backup"}
	a.do(ctx, n, list)
	op := history.Op{Workload: w.env.Name, Client: a.id, Node: n.Name(), Kind: history.Backup, Call: w.env.Record.Now()}
	file, answer := n.Backup(ctx)
	w.record(op, answer)
	shown := a.do(ctx, n, list)
	if answer.Outcome == history.OK && shown.Outcome == history.OK && w.spare != nil {
		w.restore(ctx, a, file, answer.Revision)
	}
}

func (w *backup) record(op history.Op, a wire.Answer) {
	op.Return, op.Outcome, op.Error = w.env.Record.Now(), a.Outcome, a.Error
	op.Revision, op.Value, op.Found, op.Entries, op.Version = a.Revision, a.Value, a.Found, a.Entries, a.Version
	w.env.Record.Op(op)
}

// restore restores a backup of the revision, and then damaged copies of it.
func (w *backup) restore(ctx context.Context, a *actor, file []byte, revision uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spareLimit*time.Duration(w.env.Slack))
	defer cancel()
	w.send(ctx, "whole", file, revision, true)
	w.compare(ctx, revision)
	w.send(ctx, "unasked", file, revision, false)
	w.send(ctx, "flipped", flipped(file, a.rng), revision, true)
	w.send(ctx, "cut", file[:a.rng.IntN(len(file))], revision, true)
}

func flipped(file []byte, rng *rand.Rand) []byte {
	file = slices.Clone(file)
	file[rng.IntN(len(file))] ^= 1 << rng.IntN(8)
	return file
}

// send restores a file until that is decided. A try that has no answer and takes
// effect nevertheless shows in the state, and the next one does the same again.
func (w *backup) send(ctx context.Context, what string, file []byte, revision uint64, force bool) {
	before := w.contents(ctx)
	op := w.op(history.Restore, what)
	op.Present = before
	answer := wire.Insist(ctx, func() wire.Answer { return w.spare.Restore(ctx, file, force) })
	answer.Revision, answer.Value = revision, w.contents(ctx)
	w.record(op, answer)
}

func (w *backup) op(kind history.Kind, key string) history.Op {
	return history.Op{Workload: w.env.Name, Node: w.spare.Name(), Kind: kind, Key: key, Call: w.env.Record.Now()}
}

// ask makes a request to the other cluster, until it has a definite answer.
func (w *backup) ask(ctx context.Context, r wire.Request) wire.Answer {
	return wire.Insist(ctx, func() wire.Answer { return w.spare.Do(ctx, r) })
}

// contents is what the other cluster shows of a workflow in which no key ends
// soon, as text; empty: it does not answer.
func (w *backup) contents(ctx context.Context) string {
	a := w.ask(ctx, wire.Request{Kind: history.List, Workflow: w.env.in("backup")})
	if a.Outcome != history.OK {
		return ""
	}
	return fmt.Sprint("keys: ", a.Entries)
}

// compare records the other cluster's keys of each workflow that somebody
// follows here, the version that a new key gets there, and what becomes of a
// token and of a stream's id from before.
func (w *backup) compare(ctx context.Context, revision uint64) {
	for _, s := range w.env.Record.Followed() {
		op := w.op(history.Restore, "keys")
		op.Workflow, op.Agent = s.Workflow, s.Agent
		list := w.ask(ctx, wire.Request{Kind: history.List, Agent: s.Agent, Workflow: s.Workflow})
		made := w.ask(ctx, wire.Request{
			Kind: history.Set, Agent: s.Agent, Workflow: s.Workflow, Key: "made anew", Value: "1", Idempotency: fmt.Sprintf("made-at-%d", op.Call),
		})
		if made.Outcome != history.OK {
			list.Outcome, list.Error = made.Outcome, made.Error
		}
		list.Version, list.Revision = made.Version, revision
		w.record(op, list)
	}
	w.listAdds(ctx, revision)
	op := w.op(history.Restore, "token")
	answer := w.ask(ctx, wire.Request{Kind: history.Get, Workflow: "backup", Key: "k0", MinRevision: revision})
	answer.Revision = revision
	w.record(op, answer)
	w.resume(ctx, revision)
}

// listAdds records what there is of the keys of adds, which nobody follows.
func (w *backup) listAdds(ctx context.Context, revision uint64) {
	op := w.op(history.Restore, "adds")
	op.Workflow = w.env.in("adds")
	answer := wire.Answer{Outcome: history.OK, Revision: revision}
	var err error
	if answer.Entries, err = w.spare.List(ctx, history.Place{Workflow: op.Workflow}); err != nil {
		answer.Outcome, answer.Error = history.Refused, err.Error()
	}
	w.record(op, answer)
}

// resume opens streams with an id from before, until one has told all keys, or
// anything else.
func (w *backup) resume(ctx context.Context, revision uint64) {
	op := w.op(history.Resume, "")
	ctx, cancel := context.WithTimeout(ctx, resumeLimit*time.Duration(w.env.Slack))
	defer cancel()
	w.record(op, wire.Insist(ctx, func() wire.Answer { return w.resumed(ctx, revision) }))
}

// resumed is what one stream tells.
func (w *backup) resumed(ctx context.Context, revision uint64) wire.Answer {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	answer, cursor := wire.Answer{Outcome: history.Refused, Error: "no answer", Revision: revision}, revision
	workflow := w.env.in("backup")
	w.spare.Follow(ctx, wire.Feed{Workflow: workflow}, &cursor, func(e history.Event) { // it ends in an error, always
		switch e.Type {
		case "resync":
			answer.Found = true
		case "snapshot":
			answer.Entries = append(answer.Entries, history.Entry{Workflow: workflow, Key: e.Key, Value: e.New, Version: e.Version})
		case "synced":
			answer.Outcome, answer.Error = history.OK, ""
			leave()
		default:
			answer.Error = e.Type
			leave()
		}
	})
	return answer
}

func (w *backup) Finish(ctx context.Context) error {
	defer w.stop()
	return errors.Join(w.failed, w.follow.finish(ctx))
}
