package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

const (
	// longStall is a stall that may have spoilt what a test measures: it ends
	// every leadership.
	longStall = 300 * time.Millisecond
	// mostTries bounds how often a test begins again that was spoilt.
	mostTries = 3
)

// A stallMeter notes for how long at most the machine kept the test from
// running, and so, most likely, the nodes too.
type stallMeter struct {
	done    chan struct{}
	longest chan time.Duration
}

func startStallMeter() *stallMeter {
	m := &stallMeter{done: make(chan struct{}), longest: make(chan time.Duration)}
	go m.run(time.Now())
	return m
}

func (m *stallMeter) run(last time.Time) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var longest time.Duration
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-m.done:
			ended = true
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
	}
	m.longest <- longest
}

// end ends the meter, once, and returns the longest time between two ticks.
func (m *stallMeter) end() time.Duration {
	close(m.done)
	return <-m.longest
}

// retry runs try until it succeeds and returns its last error. It tries again
// only if something else than what is tested has spoilt the try.
func retry(t *testing.T, try func() (spoilt bool, err error)) error {
	t.Helper()
	for n := 1; ; n++ {
		spoilt, err := try()
		if err == nil || !spoilt || n == mostTries {
			return err
		}
		t.Logf("try %d was spoilt: %v", n, err)
	}
}

// despiteStalls is retry for what only a long stall can spoil.
func despiteStalls(t *testing.T, try func() error) error {
	t.Helper()
	return retry(t, func() (bool, error) {
		m := startStallMeter()
		err := try()
		stall := m.end()
		if err != nil {
			err = fmt.Errorf("%w (longest stall: %v)", err, stall)
		}
		return stall >= longStall, err
	})
}

// Ensure a process that does not run for a while notices, and ends its meter
// with what it saw.
func TestStallMeter(t *testing.T) {
	m := startStallMeter()
	stop := fmt.Sprintf("kill -STOP %d; sleep %v; kill -CONT %[1]d", os.Getpid(), (longStall + 100*time.Millisecond).Seconds())
	if out, err := exec.Command("sh", "-c", stop).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := m.end(); got < longStall {
		t.Errorf("the longest stall was %v, want at least %v", got, longStall)
	}
}

// Ensure a try is repeated only if it was spoilt, and not without end.
func TestRetry(t *testing.T) {
	failed := errors.New("failed")
	for _, tt := range []struct {
		name   string
		spoilt bool
		errs   []error
		want   error
	}{
		{"succeeds", true, []error{nil}, nil},
		{"fails", false, []error{failed}, failed},
		{"spoilt twice", true, []error{failed, failed, nil}, nil},
		{"spoilt each time", true, []error{failed, failed, failed}, failed},
	} {
		tries := 0
		err := retry(t, func() (bool, error) { tries++; return tt.spoilt, tt.errs[tries-1] })
		if err != tt.want || tries != len(tt.errs) {
			t.Errorf("%s: %v after %d tries, want %v after %d", tt.name, err, tries, tt.want, len(tt.errs))
		}
	}
}
