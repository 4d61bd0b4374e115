package faultfs

import (
	"errors"
	"math/rand/v2"
)

// Loss says what a crash leaves of what is not durable.
type Loss int

const (
	// All is lost.
	All Loss = iota
	// Tear loses the last write but for its first few sectors, how many is drawn.
	// All before it stays.
	Tear
	// Scatter loses each sector, each file's size, and the newest names by
	// chance.
	Scatter
)

func (l Loss) String() string {
	return [...]string{"all that was not fsynced", "the end of the last write", "parts of what was not fsynced"}[l]
}

// Crash takes away what is not durable, and brings the power back: no rule is
// left. No process may use the disk. It returns the number of sectors and names
// that were not durable.
func (d *Disk) Crash(loss Loss, rng *rand.Rand) (sectors, names int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heal()
	d.cut = false
	last := d.last
	torn := last.first + rng.Int64N(last.end-last.first+1)
	var errs []error
	for inode, u := range d.contents {
		sectors += len(u.was)
		kept := func(sector int64) bool {
			switch loss {
			case Tear:
				return inode != last.inode || sector < torn || sector >= last.end
			case Scatter:
				return rng.IntN(2) == 0
			default:
				return false
			}
		}
		errs = append(errs, u.undo(kept, loss == Tear || loss == Scatter && rng.IntN(2) == 0))
		d.synced(inode)
	}
	names = len(d.names.changes)
	left := [...]int{0, names, rng.IntN(names + 1)}[loss]
	errs = append(errs, d.names.undo(left))
	return sectors, names, errors.Join(errs...)
}
