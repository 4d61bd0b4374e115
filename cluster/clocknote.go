package cluster

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// clockNoteInterval is how often a node notes cluster time. A note only has to
// be from this boot of the machine, not fresh.
const clockNoteInterval = time.Second

// A clockNote ties cluster time to the time since the machine booted, so that
// a process that starts again on the same boot knows cluster time without any
// wall clock.
type clockNote struct {
	Boot    string        `json:"boot"`
	Since   time.Duration `json:"sinceNs"`
	Cluster int64         `json:"clusterUs"`
}

const clockNoteFile = "clock.json"

func (n *Node) clockNotePath() string { return filepath.Join(n.cfg.DataDir, clockNoteFile) }

// recallClock takes up the clock where the last process on this boot left it.
func (n *Node) recallClock() {
	data, err := os.ReadFile(n.clockNotePath())
	if err != nil {
		return
	}
	var note clockNote
	boot, since, ok := bootTime()
	if json.Unmarshal(data, &note) != nil || !ok || note.Boot != boot || note.Since > since {
		return
	}
	n.clock.recall(note.Cluster + (since - note.Since).Microseconds())
}

// noteClock notes cluster time as soon as it is known, and every now and then.
func (n *Node) noteClock(ctx context.Context) {
	for ctx.Err() == nil {
		pause := clockNoteInterval / 50
		if now, live := n.clock.now(); live {
			n.writeClockNote(now)
			pause = clockNoteInterval
		}
		sleep(ctx, pause)
	}
}

// writeClockNote does not sync: a note that is lost with the machine would be
// of another boot anyway.
func (n *Node) writeClockNote(now int64) {
	boot, since, ok := bootTime()
	if !ok {
		return
	}
	data, err := json.Marshal(clockNote{Boot: boot, Since: since, Cluster: now})
	if err != nil {
		return
	}
	tmp := n.clockNotePath() + ".tmp"
	if os.WriteFile(tmp, data, 0o600) == nil {
		_ = os.Rename(tmp, n.clockNotePath())
	}
}
