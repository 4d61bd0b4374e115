package report

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Text writes the summary.
func (r *Run) Text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "workload\toperations\tok\trefused\tunknown\tmedian\tp99\tlongest\n")
	for _, f := range r.Figures() {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%v\t%v\t%v\n", f.Workload, f.Ops, f.OK, f.Refused, f.Unknown, short(f.Median), short(f.P99), short(f.Most))
	}
	fmt.Fprintf(w, "\nfault\ttimes\tfailed\twithout a write\twhole after\n")
	for _, f := range r.FaultFigures() {
		whole := short(f.Whole).String()
		if f.Never {
			whole = "never"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%v\t%s\n", f.Name, f.Times, f.Failed, short(f.Longest), whole)
	}
	fmt.Fprintf(w, "\nlongest without an answer\t\tfrom\n")
	for _, a := range r.Availability() {
		fmt.Fprintf(w, "%s\t%v\t%v\n", a.Who, short(a.Longest.Length()), short(a.Longest.From))
	}
	fmt.Fprintf(w, "\ncheck\tviolations\tlooked at\t\n")
	for _, v := range r.Verdicts {
		fmt.Fprintf(w, "%s\t%d\t%d\t\n", v.Name, v.Violations, v.Checked)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, v := range r.Verdicts {
		for _, note := range v.Notes {
			fmt.Fprintf(out, "%s: %s\n", v.Name, note)
		}
		for _, told := range v.Told {
			fmt.Fprintf(out, "VIOLATION of %s (%s): %s\n", v.Name, v.Promise, told)
		}
	}
	if r.Unusable != nil {
		fmt.Fprintf(out, "no test: %v\n", r.Unusable)
	}
	_, err := fmt.Fprintf(out, "repeat: %s\n", r.Command)
	return err
}

// short rounds a duration for people.
func short(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	default:
		return d.Round(10 * time.Microsecond)
	}
}
