package matrix

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// The table stands between these lines of a document.
const (
	tableBegin = "<!-- matrix: begin -->"
	tableEnd   = "<!-- matrix: end -->"
)

// Table returns what is known of the rows, in Markdown, one line each.
func (p *Pass) Table() (string, error) {
	all, err := p.Records()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(p.caption(all))
	b.WriteString("\n| row | fault | nodes | runs | faults | operations | unknown | writes: gaps, p50 / p95 / longest | reads: longest | promises |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, row := range p.Rows {
		b.WriteString(p.line(row, all[row.ID]))
	}
	return b.String(), nil
}

// caption says on what the figures rest.
func (p *Pass) caption(all map[string][]Record) string {
	builds, last, olds := map[string]bool{}, time.Time{}, map[string]bool{}
	for _, row := range p.Rows {
		for _, r := range all[row.ID] {
			if r.Result == nil {
				continue
			}
			builds[r.Result.Build] = true
			if r.Result.Started.After(last) {
				last = r.Result.Started
			}
			if row.Upgrades {
				olds[cmp.Or(r.Old, "the same build")] = true
			}
		}
	}
	text := fmt.Sprintf("Runs of %v under all workloads, seeds %s, on %d cores of %s/%s", p.Duration, join(p.Seeds), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	if !last.IsZero() {
		text += ", the last on " + last.Format(time.DateOnly)
	}
	if len(builds) > 1 {
		text += fmt.Sprintf(", of %d builds of the server", len(builds))
	}
	if len(olds) > 0 {
		text += "; rows that upgrade begin with " + strings.Join(slices.Sorted(maps.Keys(olds)), " or ")
	}
	return text + ". A gap is 200 ms or more without an answer to the prober.\n"
}

func (p *Pass) line(row Row, of []Record) string {
	if len(of) == 0 {
		why := row.uncovered(p.Isolated)
		if why == "" {
			return fmt.Sprintf("| %s | %s | | 0 | | | | | | not run |\n", row.ID, row.What)
		}
		return fmt.Sprintf("| %s | %s | | 0 | | | | | | not covered: %s |\n", row.ID, row.What, why)
	}
	s := sum(of)
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d, %s / %s / %s | %s | %s |\n",
		row.ID, row.What, row.Nodes, len(of), s.faults, s.operations, s.unknown,
		len(s.gaps), ms(report.Quantile(s.gaps, 0.5)), ms(report.Quantile(s.gaps, 0.95)), ms(s.write), ms(s.read), strings.Join(s.verdicts, "; "))
}

// sums are the figures of a row's runs.
type sums struct {
	faults, failed, operations, unknown int
	gaps                                []int64 // of writes, in ms, the shortest first
	write, read                         int64   // longest gap, in ms
	verdicts                            []string
}

func sum(of []Record) *sums {
	s := &sums{}
	for _, r := range of {
		if v := r.verdict(); v != "kept" {
			s.verdicts = append(s.verdicts, fmt.Sprintf("%s (seed %d)", v, r.Seed))
		}
		if r.Result == nil {
			continue
		}
		s.faults += r.Result.Faults - r.Result.Failed
		s.failed += r.Result.Failed
		s.operations += r.Result.Operations
		s.unknown += r.Result.Unknown
		s.gaps = append(s.gaps, r.Result.Writes.Lengths...)
		s.write, s.read = max(s.write, r.Result.Writes.Most), max(s.read, r.Result.Reads.Most)
	}
	slices.Sort(s.gaps)
	switch {
	case len(s.verdicts) > 0:
	case s.isUntested():
		s.verdicts = []string{"not tested"}
	default:
		s.verdicts = []string{"kept"}
	}
	if s.failed > 0 {
		s.verdicts = append(s.verdicts, fmt.Sprintf("%d faults could not be carried out", s.failed))
	}
	return s
}

// isUntested reports whether none of the row's faults were carried out, or fewer
// than could not be: that promises were kept then says little.
func (s *sums) isUntested() bool { return s.faults == 0 || s.failed > s.faults }

// ms writes milliseconds for people.
func ms(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n, " ms")
	}
	return fmt.Sprintf("%.1f s", float64(n)/1000)
}

func join(seeds []uint64) string {
	var texts []string
	for _, s := range seeds {
		texts = append(texts, fmt.Sprint(s))
	}
	return strings.Join(texts, ", ")
}

// Write puts the table into a document, between the two lines that mark its
// place there.
func Write(path, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begun := bytes.Cut(text, []byte(tableBegin))
	_, after, ended := bytes.Cut(rest, []byte(tableEnd))
	if !begun || !ended {
		return fmt.Errorf("%s lacks the lines %s and %s", path, tableBegin, tableEnd)
	}
	return os.WriteFile(path, fmt.Appendf(nil, "%s%s\n%s%s%s", before, tableBegin, table, tableEnd, after), 0o644)
}
