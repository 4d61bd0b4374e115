package faults

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/node"
)

var fileFaults = []Fault{
	{Name: "flip-log", Row: "D7", About: "a bit flipped in a page of the log of one node while it is down", Kind: Disk, Least: 3, Most: time.Second, begin: flipping(aPage, false)},
	{Name: "flip-log-up", Row: "D7", About: "the same while it is up", Kind: Disk, Least: 3, Most: 3 * time.Second, begin: flipping(aPage, true)},
	{Name: "flip-meta", Row: "D7", About: "a bit flipped in a meta page of the log of one node while it is down", Kind: Disk, Least: 3, Most: time.Second, begin: flipping(aMeta, false)},
	{Name: "flip-meta-up", Row: "D7", About: "the same while it is up", Kind: Disk, Least: 3, Most: 3 * time.Second, begin: flipping(aMeta, true)},
	{Name: "flip-snapshot", Row: "D7", About: "a bit flipped in a file of a snapshot of one node while it is down", Kind: Disk, Least: 3, Most: time.Second, begin: flipping(aSnapshotFile, false), needs: smallSnapshots},
	{Name: "flip-snapshot-up", Row: "D7", About: "the same while it is up", Kind: Disk, Least: 3, Most: 3 * time.Second, begin: flipping(aSnapshotFile, true), needs: smallSnapshots},
	{Name: "truncate", Row: "D8", About: "1 byte to 4 KiB cut off what is used of the log of one node while it is down", Kind: Disk, Least: 3, Most: time.Second, begin: truncating},
	{Name: "lose-snapshots", Row: "D8", About: "the snapshots of one node deleted while it is down", Kind: Disk, Least: 3, Most: time.Second, begin: losingSnapshots, needs: smallSnapshots},
	{Name: "swap", Row: "D11", About: "the data directories of two nodes exchanged, and put back", Kind: Disk, Least: 3, Most: 2 * time.Second, begin: swapping},
	{Name: "roll-back", Row: "D10", About: "one node's data directory put back to what it was 3 s before", Kind: Disk, Least: 3, Most: time.Second, begin: puttingBack, Unsupported: true},
}

// place is a byte of a file in a node's data directory.
type place struct {
	name   string
	offset int64
}

// What a bolt file begins with: two meta pages, of which the first bytes say
// something.
const (
	metaPages = 2
	pageBytes = 4096
	metaBytes = 80
)

// order is that of the bytes in bolt's numbers.
var order = binary.NativeEndian

// aPage is a byte in a page of the log that is neither a meta page nor blank.
func aPage(s *Scene, n *node.Node) (place, error) {
	data, err := os.ReadFile(filepath.Join(n.Data(), logFile))
	if err != nil {
		return place{}, err
	}
	var used []int64
	for i := int64(metaPages * pageBytes); i < int64(len(data)); i++ {
		if data[i] != 0 {
			used = append(used, i)
		}
	}
	if len(used) == 0 {
		return place{}, fmt.Errorf("%s has nothing in its log", n.Name)
	}
	return place{logFile, used[s.Rand.IntN(len(used))]}, nil
}

func aMeta(s *Scene, _ *node.Node) (place, error) {
	return place{logFile, int64(s.Rand.IntN(metaPages)*pageBytes + s.Rand.IntN(metaBytes))}, nil
}

// aSnapshotFile is a byte in a file of any snapshot. A node that has none yet
// is hit in its log.
func aSnapshotFile(s *Scene, n *node.Node) (place, error) {
	files, err := filepath.Glob(filepath.Join(n.Data(), snapshots, "*"))
	if err != nil || len(files) == 0 {
		return aPage(s, n)
	}
	file := files[s.Rand.IntN(len(files))]
	info, err := os.Stat(file)
	if err != nil || info.Size() == 0 {
		return aPage(s, n)
	}
	name, err := filepath.Rel(n.Data(), file)
	return place{name, s.Rand.Int64N(info.Size())}, err
}

// flipping flips a bit. A node that is up may find it and end; it is restarted
// in the end in any case, so that it is found before the next fault.
func flipping(where func(*Scene, *node.Node) (place, error), up bool) func(context.Context, *Scene) (Hurt, error) {
	return func(_ context.Context, s *Scene) (Hurt, error) {
		n := s.any()
		state := "up"
		if !up {
			state = "down"
			n.Kill()
		}
		end := restart(n)
		p, err := where(s, n)
		if err != nil {
			return Hurt{End: end}, err
		}
		err = n.Flip(p.name, p.offset, s.Rand.UintN(8))
		return Hurt{What: fmt.Sprintf("flipped a bit of byte %d of %s of %s, which was %s", p.offset, p.name, n.Name, state), End: end}, err
	}
}

func truncating(_ context.Context, s *Scene) (Hurt, error) {
	n := s.any()
	n.Kill()
	n.Settle()
	mark, end := n.LogMark(), restart(n)
	path := filepath.Join(n.Data(), logFile)
	used, err := usedBytes(path)
	if err != nil {
		return Hurt{End: end}, err
	}
	cut := 1 + s.Rand.Int64N(pageBytes)
	what := fmt.Sprintf("cut %d bytes off the %d that are used of %s of %s", cut, used, logFile, n.Name)
	return Hurt{What: what, End: func(ctx context.Context) error {
		return errors.Join(end(ctx), s.awaitNoticed(ctx, n, mark))
	}}, os.Truncate(path, used-cut)
}

// What a meta page says, and where.
const (
	metaPagesAt = 56 // how many pages were ever in use
	metaTxAt    = 64 // the number of the transaction that wrote it
)

// usedBytes is where the last byte ends that is not blank, of the pages that were
// ever in use. The file goes on behind it: bolt lets it grow by much at a time,
// and a process that was killed may have begun on new pages.
func usedBytes(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if len(data) < metaPages*pageBytes {
		return 0, fmt.Errorf("%s has %d bytes", path, len(data))
	}
	newest, other := data, data[pageBytes:]
	if order.Uint64(other[metaTxAt:]) > order.Uint64(newest[metaTxAt:]) {
		newest = other
	}
	pages := min(order.Uint64(newest[metaPagesAt:]), uint64(len(data)/pageBytes))
	used := bytes.TrimRight(data[:pages*pageBytes], "\x00")
	if len(used) <= metaPages*pageBytes {
		return 0, fmt.Errorf("%s has nothing in it", path)
	}
	return int64(len(used)), nil
}

// damaged is what a node logs that starts anew because its disk is damaged.
const damaged = "the disk is damaged"

// noticeTimeout is how long a node may take to read its log at its start.
const noticeTimeout = 5 * time.Second

// awaitNoticed waits until a node has found that its disk is damaged.
func (s *Scene) awaitNoticed(ctx context.Context, n *node.Node, mark int64) error {
	ctx, cancel := s.within(ctx, noticeTimeout)
	defer cancel()
	if err := n.WaitLog(ctx, mark, damaged); err != nil {
		return fmt.Errorf("%w: %s goes on with a log that was cut short: %w", ErrBroken, n.Name, err)
	}
	return nil
}

func losingSnapshots(_ context.Context, s *Scene) (Hurt, error) {
	n := s.any()
	n.Kill()
	n.Settle()
	dir := filepath.Join(n.Data(), "snapshots")
	entries, err := os.ReadDir(dir)
	return Hurt{What: fmt.Sprintf("deleted the %d snapshots of %s", len(entries), n.Name), End: restart(n)}, errors.Join(err, os.RemoveAll(dir))
}

// swapping exchanges two nodes' data. Each must refuse to start: what its disk
// says it is others know at another place.
func swapping(_ context.Context, s *Scene) (Hurt, error) {
	nodes := s.some(2)
	node.KillAll(nodes)
	end := func(context.Context) error {
		node.KillAll(nodes)
		return errors.Join(node.SwapData(nodes[0], nodes[1]), starting(nodes)(nil))
	}
	if err := node.SwapData(nodes[0], nodes[1]); err != nil {
		return Hurt{End: starting(nodes)}, err
	}
	what := fmt.Sprintf("exchanged the data of %s", names(nodes))
	for _, n := range nodes {
		if err := refuses(n); err != nil {
			return Hurt{What: what, End: end}, err
		}
	}
	return Hurt{What: what, End: end}, nil
}

// refuses starts a node that must not start with what it has.
func refuses(n *node.Node) error {
	mark := n.LogMark()
	code, err := n.StartToEnd()
	if err != nil || code != 1 {
		return errors.Join(fmt.Errorf("%w: %s, with another's data, ended with code %d, want 1", ErrBroken, n.Name, code), err)
	}
	return unharmed(n, mark)
}

// rollBack is how far a directory is rolled back.
const rollBack = 3 * time.Second

// puttingBack is not survived: nothing on the disk says that there was more,
// and the others count on what it had acknowledged.
func puttingBack(ctx context.Context, s *Scene) (Hurt, error) {
	n := s.any()
	end := starting([]*node.Node{n})
	n.Kill()
	old := n.Data() + ".old"
	if err := errors.Join(n.CopyData(old), n.Start()); err != nil {
		return Hurt{End: end}, err
	}
	select {
	case <-ctx.Done():
	case <-time.After(rollBack):
	}
	n.Kill()
	return Hurt{What: fmt.Sprintf("rolled the disk of %s back by %v", n.Name, rollBack), End: end}, n.PutBack(old)
}
