package fsm

import (
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// maxEnds bounds how many keys one entry ends because their deadline has come,
// and how many floors and records it drops, so that no entry takes long. What
// is left follows with the next entries.
const maxEnds = 4096

// Applied is what an entry did, for those who wait for it.
type Applied struct {
	Batches []*fsmpb.BatchAnswer // in the entry's order
	Session uint64               // number of the session it opened, or found open
	Restore *fsmpb.RestoreAnswer // to its step of a restore
}

// Apply executes the committed entry at index.
//
// A command that is refused, say because its condition does not hold, is an
// ordinary outcome, the same on every node, and changes nothing. An error is
// not: the entry is beyond this build or not one of ours, nothing was applied,
// and the node must stop.
func (s *State) Apply(index uint64, entry []byte) (Applied, error) {
	e, err := decode(index, entry, s.maxVersion)
	if err != nil {
		return Applied{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apply(index, e), nil
}

func (d *data) apply(index uint64, e *fsmpb.Entry) Applied {
	d.index = index
	d.advance(e.Stamp)
	if l := e.LeaderStart; l != nil {
		d.leaderStart(l)
	}
	if r := e.RaiseVersion; r != nil {
		d.version = max(d.version, r.Version)
	}
	var res Applied
	if o := e.OpenSession; o != nil {
		res.Session = d.openSession(index, o)
	}
	if r := e.Restore; r != nil {
		res.Restore = d.restore(r)
	}
	for _, b := range e.Batches {
		res.Batches = append(res.Batches, d.applyBatch(b))
	}
	return res
}

// advance moves cluster time to stamp, never backwards, and ends what is due.
func (d *data) advance(stamp int64) {
	d.clock = max(d.clock, stamp)
	d.expire(maxEnds)
	d.dropFloors(maxEnds)
	d.records.drop(d.clock, maxEnds)
}

func (d *data) leaderStart(l *fsmpb.LeaderStart) {
	d.offset = l.WallOffset
	if l.Settings != nil {
		d.settings = l.Settings
	}
	d.history.trim(d.settings)
}

// Members tells the state the nodes of the configuration at index: sessions
// of others end. It is part of the log like any entry.
func (s *State) Members(index uint64, ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = index
	s.endSessions(ids)
}
