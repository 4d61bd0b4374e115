package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/report"
)

// Pass is one way through the matrix.
type Pass struct {
	Rows     []Row
	Seeds    []uint64
	Duration time.Duration // of a run
	Dir      string        // for results, and for the reports of runs that broke a promise
	Build    string        // of the server: results of others are out of date
	Tester   string        // build of the tester: the same goes for it
	Old      string        // what the nodes of rows that upgrade begin with; empty: the same build
	Isolated bool          // network faults are possible
	Force    bool          // do anew what is done
	Out      io.Writer

	// Torture runs the tester and returns why there was no test. The report goes
	// to a directory, also when a promise was broken.
	Torture func(ctx context.Context, dir string, args []string) error
}

// Record is what came of one run. It is a file of its own.
type Record struct {
	Row      string         `json:"row"`
	Seed     uint64         `json:"seed"`
	Duration time.Duration  `json:"duration"`      // that was asked for
	Old      string         `json:"old,omitempty"` // what the nodes began with; empty: the same build
	Error    string         `json:"error,omitempty"`
	Result   *report.Result `json:"result,omitempty"` // nil: there was no test
	Report   string         `json:"report,omitempty"` // directory, of a run that broke a promise
}

// Run goes through the rows with the first seed, then with the next, and leaves
// out what is done. A run that fails does not stop it; the end of ctx does.
func (p *Pass) Run(ctx context.Context) error {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return err
	}
	for _, seed := range p.Seeds {
		for _, row := range p.Rows {
			if row.uncovered(p.Isolated) != "" || p.done(row, seed) {
				continue
			}
			if err := p.one(ctx, row, seed); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Pass) one(ctx context.Context, row Row, seed uint64) error {
	dir := filepath.Join(p.Dir, fmt.Sprintf("%s-%d-%s", row.ID, seed, p.Build)) // so that another build's does not replace it
	args := append(row.args(p.Old), "--seed", fmt.Sprint(seed), "--duration", p.Duration.String(), "--report", dir)
	begin := time.Now()
	err := p.Torture(ctx, dir, args)
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), os.RemoveAll(dir)) // it was cut short, so it says nothing
	}
	rec := Record{Row: row.ID, Seed: seed, Duration: p.Duration, Old: row.old(p.Old), Report: dir}
	if err == nil {
		rec.Result, err = report.ReadResult(filepath.Join(dir, report.ResultFile))
	}
	if err != nil {
		rec.Result, rec.Error = nil, err.Error()
	}
	if rec.Result != nil && len(rec.Result.Broken()) == 0 {
		rec.Report = ""
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.Out, "%-4s seed %d: %s, %v\n", row.ID, seed, rec.verdict(), time.Since(begin).Round(time.Second))
	return p.save(rec)
}

// done reports whether there is a result of the same question: of this build, by
// this tester, in the same surroundings, of a run that took no less time. What could not be
// tested is tried again.
func (p *Pass) done(row Row, seed uint64) bool {
	rec, err := p.load(row.ID, seed)
	if p.Force || err != nil || rec.Result == nil {
		return false
	}
	isSame := rec.Result.Build == p.Build && rec.Result.Tester == p.Tester
	return isSame && rec.Result.Isolated == p.Isolated && rec.Old == row.old(p.Old) && rec.Duration >= p.Duration
}

func (p *Pass) path(row string, seed uint64) string {
	return filepath.Join(p.Dir, fmt.Sprintf("%s-%d.json", row, seed))
}

func (p *Pass) load(row string, seed uint64) (rec Record, err error) {
	text, err := os.ReadFile(p.path(row, seed))
	if err != nil {
		return rec, err
	}
	return rec, json.Unmarshal(text, &rec)
}

func (p *Pass) save(rec Record) error {
	text, err := json.MarshalIndent(rec, "", "\t")
	if err != nil {
		return err
	}
	path := p.path(rec.Row, rec.Seed)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Records returns those that there are of the pass's rows and seeds, by row.
func (p *Pass) Records() (map[string][]Record, error) {
	all := map[string][]Record{}
	for _, row := range p.Rows {
		for _, seed := range p.Seeds {
			rec, err := p.load(row.ID, seed)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all[row.ID] = append(all[row.ID], rec)
		}
	}
	return all, nil
}

// OK reports whether every run that there is kept every promise, and each row
// was put to the test.
func (p *Pass) OK() (bool, error) {
	all, err := p.Records()
	for _, of := range all {
		if slices.ContainsFunc(of, func(r Record) bool { return r.Result == nil || len(r.Result.Broken()) > 0 }) {
			return false, err
		}
		if sum(of).isUntested() {
			return false, err
		}
	}
	return true, err
}

// verdict says in a word or two what came of the run.
func (r Record) verdict() string {
	if r.Result == nil {
		return "no test: " + r.Error
	}
	broken := r.Result.Broken()
	if len(broken) == 0 {
		return "kept"
	}
	text := "**broken**:"
	for i, v := range broken {
		if i > 0 {
			text += ","
		}
		text += " " + v.Check
	}
	return text
}
