package main

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
)

// own are the verdicts of the run itself.
func (t *tester) own() []*check.Verdict {
	return []*check.Verdict{t.liveness, t.process, t.hashes, t.order}
}

// all are the verdicts of the run itself and those of the checkers.
func (t *tester) all() []*check.Verdict { return append(t.own(), t.verdicts...) }

// tried are the verdicts of promises that every long run puts to the test. In a
// short epoch nothing may ever be calm.
func (t *tester) tried() []*check.Verdict {
	if t.config.epoch >= judgedFrom {
		return t.all()
	}
	return slices.DeleteFunc(t.all(), func(v *check.Verdict) bool { return v.Name == check.CalmName })
}

// checks are the names of all verdicts that an epoch may bring about.
func checks() []string {
	names := append(check.Names(), check.CalmName, check.RollingName)
	for _, v := range newTester(&config{}, false, io.Discard, nil).own() {
		names = append(names, v.Name)
	}
	return names
}

// anyCheck stands for all checks.
const anyCheck = "any"

// found reports whether the check of that name, or any, has found a violation.
func found(name string, verdicts []*check.Verdict) bool {
	for _, v := range verdicts {
		if !v.OK() && (name == v.Name || name == anyCheck) {
			return true
		}
	}
	return false
}

// merge adds what the checkers found in one epoch to what they found before, and
// tells of violations.
func (t *tester) merge(epoch int, found []*check.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range found {
		for _, told := range v.Told {
			t.tell(v, told)
		}
	}
	if len(t.verdicts) == 0 {
		t.verdicts = found
		return
	}
	for i, v := range found {
		t.verdicts[i].Add(v, fmt.Sprintf("epoch %d: ", epoch))
	}
}

// tell tells of a violation while the run goes on.
func (t *tester) tell(v *check.Verdict, told string) {
	fmt.Fprintf(t.out, "VIOLATION of %s: %s\n", v.Name, told)
}

// lockedWriter is for those who tell at the same time.
type lockedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (l *lockedWriter) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(text)
}
