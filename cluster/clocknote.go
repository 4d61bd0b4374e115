package cluster

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// clockNoteInterval is how often a node notes cluster time. A note only has to
// be from this boot of the machine, not fresh.
const clockNoteInterval = time.Second

// A clockNote ties cluster time to the time since the machine booted, so that
// a process that starts again on the same boot knows cluster time without any
// wall clock.
type clockNote struct {
	Boot    string        `json:"boot"` // with awakeOnly
	Since   time.Duration `json:"sinceNs"`
	Cluster int64         `json:"clusterUs"`
	Term    uint64        `json:"term"`  // of the entry that this rests on
	Index   uint64        `json:"index"` // up to which it accounts for all entries
}

// A wallNote ties cluster time to the machine's wall clock, for after its next
// boot. Without one cluster time is the wall clock, as in a new cluster.
type wallNote struct {
	Tie int64 `json:"clusterMinusWallUs"`
}

const (
	// awakeOnly ends what a note says of its boot. Builds that do not write it count
	// what the machine slept as well: they must not take a note with it for theirs,
	// which would be ahead then. To take theirs without it errs towards behind.
	awakeOnly = " awake"

	clockNoteFile = "clock.json"
	wallNoteFile  = "wallclock.json"

	// wallNoteGrain is how far the wall clock moves against cluster time until
	// that is noted. A note is synced, so there should be few.
	wallNoteGrain = 100 * time.Millisecond
)

func (n *Node) clockNotePath() string { return filepath.Join(n.cfg.DataDir, clockNoteFile) }

// recallClock takes up the clock where the last process on this boot left it.
func (n *Node) recallClock() {
	n.recallWall()
	data, err := os.ReadFile(n.clockNotePath())
	if err != nil {
		return
	}
	var note clockNote
	boot, since, ok := bootTime()
	if json.Unmarshal(data, &note) != nil || !ok || strings.TrimSuffix(note.Boot, awakeOnly) != boot || note.Since > since {
		return
	}
	n.clock.recall(note.Cluster+(since-note.Since).Microseconds(), note.Term, note.Index)
}

// noteClock notes cluster time as soon as it is known, when it comes to rest on
// another term, which a note of an older one would be ahead of, and every now and
// then.
func (n *Node) noteClock(ctx context.Context) {
	for ctx.Err() == nil {
		pause := clockNoteInterval / 50
		if now, live := n.clock.now(); live {
			n.writeClockNote()
			n.writeWallNote(now)
			pause = clockNoteInterval
		}
		select {
		case <-time.After(pause):
		case <-n.noteDue:
		case <-ctx.Done():
		}
	}
}

// writeClockNote does not sync: a note that is lost with the machine would be
// of another boot anyway. One that cannot be replaced goes: the longer ago it was
// taken, the further this machine's clock may have run ahead of the leader's since.
func (n *Node) writeClockNote() {
	term, index := n.clock.restsOn()
	now, _ := n.clock.now()
	boot, since, ok := bootTime()
	if !ok {
		return
	}
	data, err := json.Marshal(clockNote{Boot: boot + awakeOnly, Since: since, Cluster: now, Term: term, Index: index})
	if err != nil {
		return
	}
	tmp := n.clockNotePath() + ".tmp"
	err = os.WriteFile(tmp, data, 0o600)
	if err == nil {
		err = os.Rename(tmp, n.clockNotePath())
	}
	if err != nil {
		_ = os.Remove(n.clockNotePath())
	}
}

func (n *Node) wallNotePath() string { return filepath.Join(n.cfg.DataDir, wallNoteFile) }

func (n *Node) recallWall() {
	var note wallNote
	if data, err := os.ReadFile(n.wallNotePath()); err == nil && json.Unmarshal(data, &note) == nil {
		n.clock.tied(note.Tie)
	}
}

// writeWallNote notes how the wall clock stands to cluster time, if that is new.
// An error leaves what is known: the next look at it tries again.
func (n *Node) writeWallNote(now int64) {
	tie := now - n.clock.wall().UnixMicro()
	moved := time.Duration(n.clock.wallTime()-now) * time.Microsecond
	if moved.Abs() < wallNoteGrain {
		return
	}
	data, err := json.Marshal(wallNote{Tie: tie})
	if err != nil {
		return
	}
	tmp := n.wallNotePath() + ".tmp"
	if writeSynced(tmp, data) == nil && os.Rename(tmp, n.wallNotePath()) == nil && syncDir(n.cfg.DataDir) == nil {
		n.clock.tied(tie)
	}
}
