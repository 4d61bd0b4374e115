package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/stateraft/stateraft/cluster/clusterpb"
	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/snapshot"
)

// spoolShare is which part of the free space a backup may take that waits to be
// restored: as much again goes into the log, and into the next snapshot.
const spoolShare = 3

// dropTime is how long giving a restore up may take. What it brought is dropped
// by the leader otherwise, when it has stood still: see stagingWatch.
const dropTime = 2 * time.Second

// A Restore says how a backup is to be restored.
type Restore struct {
	Force    bool          // also if there are keys: they go
	Keep     string        // the namespace whose keys stay as they are
	Patience time.Duration // for each step of it
}

// Restored says what became of it.
type Restored struct {
	fsm.BackupInfo        // of the backup
	At             uint64 // revision of the state from then on
}

// Restore replaces the keys and floors of the cluster by those of the backup
// that r holds. They come in through the log and take effect together, on each
// node at the same position. Before that, nothing of it can be seen. One restore
// at a time: another that begins ends this one.
//
// Errors: [ErrDamaged] and [ErrRefused] (there are keys, another restore, a node
// too old), [ErrDiskFull], [ErrNoLeader], [ErrClosed] and those of r: nothing
// has changed. [ErrOutcomeUnknown]: all of it has happened, or may yet, or none.
func (n *Node) Restore(ctx context.Context, r io.Reader, how Restore) (Restored, error) {
	if !n.restoring.TryLock() {
		return Restored{}, fmt.Errorf("%w: this node is at another restore", ErrRefused)
	}
	defer n.restoring.Unlock()
	if err := n.mayRestore(ctx, how); err != nil {
		return Restored{}, err
	}
	spool, err := n.spool(r, how.Keep)
	if err != nil {
		return Restored{}, err
	}
	defer spool.Close()
	run := &restoring{node: n, submit: n.submit, how: how, id: make([]byte, 16)}
	_, _ = rand.Read(run.id) // never fails
	return run.run(ctx, spool)
}

// mayRestore finds out early what the state machine would say in the end.
func (n *Node) mayRestore(ctx context.Context, how Restore) error {
	ctx, cancel := context.WithTimeout(ctx, how.Patience)
	defer cancel()
	if err := n.ReadIndex(ctx); err != nil {
		return err
	}
	for n.state.Version() < fsm.RestoreVersion { // it may be about to rise
		if sleep(ctx, maxPause); ctx.Err() != nil {
			return fmt.Errorf("%w: a restore needs protocol version %d and the cluster speaks %d: some node is of an older build, or away",
				ErrRefused, fsm.RestoreVersion, n.state.Version())
		}
	}
	if !how.Force && !n.state.Empty(how.Keep) {
		return errNotEmpty
	}
	return nil
}

var errNotEmpty = fmt.Errorf("%w: the cluster has keys, which only a forced restore replaces", ErrRefused)

// spool writes the backup to a file in the data directory that has no name any
// more, so that it goes with its last use, and verifies it on the way.
func (n *Node) spool(r io.Reader, keep string) (_ *os.File, err error) {
	f, err := os.CreateTemp(n.cfg.DataDir, "restore-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("spool the backup: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("spool the backup: %w", err)
	}
	room := &bounded{w: f, left: n.store.Stats().FreeBytes / spoolShare}
	if err := verifyBackup(io.TeeReader(r, room), keep); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// bounded fails with ErrDiskFull beyond so many bytes.
type bounded struct {
	w    io.Writer
	left uint64
}

func (b *bounded) Write(p []byte) (int, error) {
	if uint64(len(p)) > b.left {
		return 0, fmt.Errorf("%w: the backup is larger than a third of what is free", ErrDiskFull)
	}
	b.left -= uint64(len(p))
	n, err := b.w.Write(p)
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return n, err
}

func verifyBackup(r io.Reader, keep string) error {
	_, err := eachPart(r, keep, func([]*fsmpb.ImageKey, []*fsmpb.ImageFloor) error { return nil })
	return err
}

// eachPart calls f for each part of a backup, of which an empty one has none.
// It returns nil only if the whole was found undamaged.
func eachPart(r io.Reader, keep string, f func([]*fsmpb.ImageKey, []*fsmpb.ImageFloor) error) (fsm.BackupInfo, error) {
	b, err := fsm.NewBackupReader(r, keep)
	if err != nil {
		return fsm.BackupInfo{}, asDamage(err)
	}
	for {
		keys, floors, err := b.Next()
		if err == io.EOF {
			return b.Info(), nil
		}
		if err != nil {
			return b.Info(), asDamage(err)
		}
		if err := f(keys, floors); err != nil {
			return b.Info(), err
		}
	}
}

// asDamage tells what is wrong with a file from what is wrong with reading it.
func asDamage(err error) error {
	newer := (*fsm.VersionError)(nil)
	if errors.Is(err, snapshot.ErrCorrupt) || errors.Is(err, snapshot.ErrVersion) || errors.As(err, &newer) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// restoring is one restore under way. Its steps go to whoever leads, one after
// the other, each until the state machine has answered: that knows copies.
type restoring struct {
	node   *Node
	submit func(context.Context, *clusterpb.Propose, time.Duration) (*clusterpb.Response, error)
	how    Restore
	id     []byte // random
	next   uint64 // sequence of the next step
	info   fsm.BackupInfo
}

func (r *restoring) run(ctx context.Context, spool *os.File) (Restored, error) {
	answer, err := r.steps(ctx, spool)
	if err != nil {
		if r.next > 0 && !errors.Is(err, ErrOutcomeUnknown) {
			r.drop(ctx)
		}
		return Restored{}, err
	}
	r.node.cfg.Logger.Info("a backup was restored", "of", r.info.ClusterID, "at", r.info.Revision, "keys", r.info.Keys, "revision", answer.Revision)
	ctx, cancel := context.WithTimeout(ctx, r.how.Patience)
	defer cancel()
	_ = r.node.fsm.revision.wait(ctx, answer.Revision) // it has happened, also where this node is behind
	return Restored{r.info, answer.Revision}, nil
}

func (r *restoring) steps(ctx context.Context, spool *os.File) (*fsmpb.RestoreAnswer, error) {
	_, err := r.step(ctx, &fsmpb.Restore{Step: fsmpb.Restore_BEGIN, Force: r.how.Force, Keep: r.how.Keep})
	if err != nil {
		return nil, err
	}
	r.info, err = eachPart(spool, r.how.Keep, func(keys []*fsmpb.ImageKey, floors []*fsmpb.ImageFloor) error {
		_, err := r.step(ctx, &fsmpb.Restore{Step: fsmpb.Restore_ADD, Keys: keys, Floors: floors})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.step(ctx, &fsmpb.Restore{
		Step: fsmpb.Restore_COMMIT, Force: r.how.Force, Keep: r.how.Keep, Revision: r.revision(),
	})
}

// revision is what the state's is to pass: the backup's, and a number of this
// restore alone. Without it the same backup would take two clusters to the same
// revisions, and a stream's id or a token of the one would pass in the other.
// The number is below 2^40 because clients that read revisions as doubles have
// 2^53: room for 8,000 restores, each of a backup of the one before.
func (r *restoring) revision() uint64 {
	own := binary.BigEndian.Uint64(r.id) >> (64 - 40)
	return min(r.info.Revision+own, fsm.MaxRevision)
}

// step has s taken. Until the last one an unknown outcome is as good as none,
// for nothing can be seen of it.
func (r *restoring) step(ctx context.Context, s *fsmpb.Restore) (*fsmpb.RestoreAnswer, error) {
	s.Id, s.Sequence = r.id, r.next
	r.next++
	ctx, cancel := context.WithTimeout(ctx, r.how.Patience)
	defer cancel()
	a, certain, err := r.insist(ctx, s)
	switch {
	case errors.Is(err, ErrOutcomeUnknown) && s.Step != fsmpb.Restore_COMMIT:
		return nil, ErrNoLeader
	case err != nil:
		return nil, err
	}
	switch {
	case a.Refusal == fsmpb.RestoreAnswer_NONE:
		return a, nil
	case a.Refusal == fsmpb.RestoreAnswer_NOT_EMPTY: // what was brought was still there, so it has not happened
		return nil, errNotEmpty
	case s.Step == fsmpb.Restore_COMMIT && !certain: // it may have happened, and the other restore since
		return nil, ErrOutcomeUnknown
	default:
		return nil, fmt.Errorf("%w: another restore began meanwhile, or this one stood still for too long", ErrRefused)
	}
}

// insist proposes s again and again until the state machine has answered. It is
// certain if no attempt before that can have had an effect.
func (r *restoring) insist(ctx context.Context, s *fsmpb.Restore) (_ *fsmpb.RestoreAnswer, certain bool, _ error) {
	certain = true
	timeout := attemptTimeout
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		begun := time.Now()
		resp, err := r.submit(ctx, &clusterpb.Propose{Restore: s}, timeout)
		switch {
		case err == nil && resp.Restore != nil:
			return resp.Restore, certain, nil
		case errors.Is(err, ErrRefused), errors.Is(err, ErrDiskFull):
			if certain {
				return nil, true, err
			}
		case !isCertain(err):
			certain = false
			timeout = longer(timeout, time.Since(begun))
		}
		r.node.leaders.pause(ctx, pause)
		switch {
		case ctx.Err() == nil && r.node.ctx.Err() == nil:
		case !certain:
			return nil, false, ErrOutcomeUnknown
		case r.node.ctx.Err() != nil:
			return nil, true, ErrClosed
		default:
			return nil, true, ErrNoLeader
		}
	}
}

// drop lets the cluster forget what was brought, if it can be told so.
func (r *restoring) drop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	_, _, err := r.insist(ctx, &fsmpb.Restore{Step: fsmpb.Restore_DROP, Id: r.id, Sequence: r.next})
	if err != nil {
		r.node.cfg.Logger.Warn("what a restore has brought waits for the leader to drop it", "err", err)
	}
}

// admitRestore refuses, as the leader, a step that some node would not know, and
// what the disk has no room for.
func (n *Node) admitRestore(r *fsmpb.Restore) error {
	switch {
	case r == nil:
		return nil
	case n.state.Version() < fsm.RestoreVersion:
		return fmt.Errorf("%w: a restore needs protocol version %d and the cluster speaks %d", ErrRefused, fsm.RestoreVersion, n.state.Version())
	case r.Step == fsmpb.Restore_ADD && n.diskFull():
		return ErrDiskFull
	}
	return nil
}
