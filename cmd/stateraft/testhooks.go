package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stateraft/stateraft/cluster"
)

// testHooksEnv names the directory of a node's test hooks: files that make
// what a fault tester cannot otherwise reach. It is no flag, for nobody else
// has a use for it. See docs/fault-testing.md.
const testHooksEnv = "STATERAFT_TEST_HOOKS"

// clockHookPause is how often the clock's file is read.
const clockHookPause = 50 * time.Millisecond

// testHooks returns the tuning that dir asks for; an empty dir asks for none.
// The clock follows its file until ctx ends.
func testHooks(ctx context.Context, dir string, log *slog.Logger) (t cluster.Tuning, err error) {
	if dir == "" {
		return t, nil
	}
	log.Warn("TEST HOOKS ARE ON: this node is being tested, and its clock may be wrong on purpose", "env", testHooksEnv, "dir", dir)
	text, err := os.ReadFile(filepath.Join(dir, "tuning"))
	if err == nil {
		err = readTuning(string(text), &t)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return t, fmt.Errorf("%s: tuning: %w", testHooksEnv, err)
	}
	clock := newClockHook(time.Now)
	go clock.follow(ctx, filepath.Join(dir, "clock"), log)
	t.Wall, t.Monotonic = clock.wall, clock.monotonic
	t.BeforeWrite = diskHook(filepath.Join(dir, "disk"))
	return t, nil
}

// diskHook makes each write of the log fail with what the file says, while it
// is there.
func diskHook(path string) func() error {
	return func() error {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		return errors.New(strings.TrimSpace(string(text)))
	}
}

// readTuning reads lines of a name and a value.
func readTuning(text string, t *cluster.Tuning) error {
	return eachLine(text, func(name, value string) (err error) {
		switch name {
		case "snapshot-threshold":
			t.SnapshotThreshold, err = strconv.ParseUint(value, 10, 64)
		case "trailing-logs":
			t.TrailingLogs, err = strconv.ParseUint(value, 10, 64)
		case "snapshot-interval":
			t.SnapshotInterval, err = time.ParseDuration(value)
		default:
			err = errors.New("unknown")
		}
		return err
	})
}

// eachLine splits lines into a name and a value; empty lines count for nothing.
func eachLine(text string, do func(name, value string) error) error {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, _ := strings.Cut(line, " ")
		if err := do(name, value); err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
	}
	return nil
}

// A clockHook is a wall clock and a monotonic clock that run at a wrong rate,
// and a wall clock that is off on top of that. A setting makes the wall clock
// forget what it has drifted, as a time daemon would; the monotonic clock cannot.
type clockHook struct {
	machine func() time.Time

	mu      sync.Mutex    // guards everything below
	setting clockSetting  // in force
	since   time.Time     // since when, by the machine's clock
	passed  time.Duration // until then, by the wrong clock
}

// clockSetting is what the file says.
type clockSetting struct {
	offset time.Duration // of the wall clock
	rate   float64       // of both clocks: 1 is right, 0 stands still
}

// maxClockRate bounds a rate; a test that asks for more has a typing error.
const maxClockRate = 100

func newClockHook(machine func() time.Time) *clockHook {
	return &clockHook{machine: machine, since: machine(), setting: clockSetting{rate: 1}}
}

func (c *clockHook) monotonic() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passedLocked(c.machine())
}

func (c *clockHook) wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Round strips the machine's monotonic reading, which tells the right time.
	now := c.machine()
	drifted := time.Duration(float64(now.Sub(c.since)) * (c.setting.rate - 1))
	return now.Round(0).Add(c.setting.offset + drifted)
}

func (c *clockHook) passedLocked(now time.Time) time.Duration {
	return c.passed + time.Duration(float64(now.Sub(c.since))*c.setting.rate)
}

// set puts a setting in force from now on: what has passed stays passed.
func (c *clockHook) set(s clockSetting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.machine()
	c.passed, c.since, c.setting = c.passedLocked(now), now, s
}

// follow puts in force what the file says, as often as that changes, until ctx
// ends. A file that is absent, or wrong, changes nothing.
func (c *clockHook) follow(ctx context.Context, path string, log *slog.Logger) {
	tick := time.NewTicker(clockHookPause)
	defer tick.Stop()
	for last := ""; ; {
		if text, err := os.ReadFile(path); err == nil && string(text) != last {
			last = string(text)
			c.obey(last, log)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *clockHook) obey(text string, log *slog.Logger) {
	s, err := readClock(text)
	if err != nil {
		log.Error("the clock's test hook is wrong", "err", err)
		return
	}
	c.set(s)
	log.Warn("test hook: the clocks are wrong now", "wall", s.offset, "rate", s.rate)
}

// readClock reads lines "wall OFFSET" and "rate R"; a clock that is not named
// is right.
func readClock(text string) (clockSetting, error) {
	s := clockSetting{rate: 1}
	err := eachLine(text, func(name, value string) (err error) {
		switch name {
		case "wall":
			s.offset, err = time.ParseDuration(value)
		case "rate":
			s.rate, err = strconv.ParseFloat(value, 64)
			if err == nil && !(s.rate >= 0 && s.rate <= maxClockRate) {
				err = fmt.Errorf("a rate must be from 0 to %d", maxClockRate)
			}
		default:
			err = errors.New("unknown")
		}
		return err
	})
	return s, err
}
