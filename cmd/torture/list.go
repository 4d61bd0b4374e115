package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/stateraft/stateraft/cmd/torture/internal/faults"
	"github.com/stateraft/stateraft/cmd/torture/internal/workload"
)

// listedRounds is how much of the schedule a list shows.
const listedRounds = 20

// list tells what there is, and what the schedule begins with.
func list(c *config, out io.Writer, isolated bool) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "fault\trow\tkind\twhat")
	for _, f := range faults.All {
		about := f.About
		if err := f.Possible(c.nodes, isolated); err != nil {
			about += " (not here: " + err.Error() + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, f.Row, f.Kind, about)
	}
	fmt.Fprintln(w, "\nworkload\t\t\twhat")
	for _, s := range workload.All {
		fmt.Fprintf(w, "%s\t\t\t%s\n", s.Name, s.About)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	chosen, _, err := c.selected(isolated)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nschedule of seed %d\n", c.seed)
	schedule := faults.NewSchedule(c.seed, chosen, c.combined)
	for range listedRounds {
		fmt.Fprintln(out, schedule.Next())
	}
	return nil
}
