// Package matrix runs the fault matrix: for each row of it, its faults under all
// workloads, with several seeds. What is done is kept, so that a pass that takes
// hours can be interrupted and gone on with.
package matrix

import (
	"fmt"
	"strings"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
)

// Row is one of the fault matrix. Its faults are those that name it.
type Row struct {
	ID    string
	What  string
	Nodes int
	Args  []string // of the tester, beside those that every row has

	Upgrades bool // the nodes begin with an older build, if there is one
}

// Rows are the fault matrix.
var Rows = []Row{
	{ID: "N1", What: "nodes cut off", Nodes: 3},
	{ID: "N2", What: "the leader keeps its client port alone", Nodes: 3},
	{ID: "N3", What: "one way dropped", Nodes: 3},
	{ID: "N4", What: "a bridge node, a ring", Nodes: 5},
	{ID: "N5", What: "5, 20, 50 % of the packets lost", Nodes: 3},
	{ID: "N6", What: "TCP resets", Nodes: 3},
	{ID: "N7", What: "delays, late replies", Nodes: 3},
	{ID: "N8", What: "one port of the leader cut", Nodes: 3},
	{ID: "N9", What: "connections that nobody reads", Nodes: 3},
	{ID: "P1", What: "SIGKILL of one, the leader, a majority, all", Nodes: 3},
	{ID: "P2", What: "SIGSTOP of one, the leader, all", Nodes: 3},
	{ID: "P3", What: "SIGTERM", Nodes: 3},
	{ID: "P4", What: "crash between two steps", Nodes: 3},
	{ID: "P5", What: "no CPU", Nodes: 3},
	{ID: "P6", What: "little memory, few descriptors", Nodes: 3},
	{ID: "D1", What: "power loss: writes not fsynced are gone", Nodes: 3},
	{ID: "D2", What: "a torn last write", Nodes: 3},
	{ID: "D3", What: "EIO of a write or an fsync", Nodes: 3},
	{ID: "D4", What: "a full disk", Nodes: 3},
	{ID: "D5", What: "a disk that stalls", Nodes: 3},
	{ID: "D6", What: "a slow fsync", Nodes: 3},
	{ID: "D7", What: "flipped bits", Nodes: 3},
	{ID: "D8", What: "files cut short, or lost", Nodes: 3},
	{ID: "D9", What: "a disk emptied", Nodes: 3},
	{ID: "D10", What: "a disk rolled back, which nothing detects", Nodes: 3},
	{ID: "D11", What: "two disks exchanged", Nodes: 3},
	{ID: "S1", What: "a follower that needs a snapshot", Nodes: 3},
	{ID: "S2", What: "SIGKILL while a snapshot travels", Nodes: 3},
	{ID: "C1", What: "clocks that jump, drift, stand", Nodes: 3},
	{ID: "M1", What: "members removed, added, replaced", Nodes: 3},
	{ID: "M2", What: "leadership moved every 300 ms, and nodes cut off", Nodes: 3, Args: []string{"--faults", "M2,N1", "--combined"}},
	{ID: "U1", What: "nodes of two builds", Nodes: 3, Upgrades: true},
	{ID: "U2", What: "all nodes upgraded, and back", Nodes: 3, Upgrades: true},
	{ID: "H1", What: "slow subscribers, and very many", Nodes: 3},
	{ID: "H2", What: "proxies that buffer, half-open clients", Nodes: 3},
	{ID: "H3", What: "streams that begin where the history ends", Nodes: 3},
}

// Select returns the rows that a list names, comma-separated; empty: all.
func Select(list string) ([]Row, error) {
	if list == "" {
		return Rows, nil
	}
	var selected []Row
	for _, id := range strings.Split(list, ",") {
		found := false
		for _, r := range Rows {
			if strings.EqualFold(r.ID, id) {
				selected, found = append(selected, r), true
			}
		}
		if !found {
			return nil, fmt.Errorf("the fault matrix has no row %q", id)
		}
	}
	return selected, nil
}

// uncovered says why a row cannot be run at all; empty: it can.
func (r Row) uncovered(isolated bool) string {
	var why []string
	for _, f := range faults.All {
		if !strings.EqualFold(f.Row, r.ID) {
			continue
		}
		err := f.Possible(r.Nodes, isolated)
		if err == nil {
			return ""
		}
		why = append(why, err.Error())
	}
	if len(why) == 0 {
		return "no fault does this"
	}
	return strings.Join(why, "; ")
}

// old is what the row's nodes begin with, if there is that older build; empty:
// the same.
func (r Row) old(old string) string {
	if r.Upgrades {
		return old
	}
	return ""
}

// args are those of the tester for one run.
func (r Row) args(old string) []string {
	args := []string{"--nodes", fmt.Sprint(r.Nodes)}
	if old = r.old(old); old != "" {
		args = append(args, "--old", old)
	}
	if len(r.Args) > 0 {
		return append(args, r.Args...)
	}
	return append(args, "--faults", r.ID)
}
