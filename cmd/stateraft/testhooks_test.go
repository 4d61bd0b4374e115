package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/cluster"
)

func TestReadTuning(t *testing.T) {
	for _, tt := range []struct {
		text, err string
		want      cluster.Tuning
	}{
		{"", "", cluster.Tuning{}},
		{"snapshot-threshold 50\n\nsnapshot-interval 1s\n  trailing-logs 10\n", "", cluster.Tuning{SnapshotThreshold: 50, SnapshotInterval: time.Second, TrailingLogs: 10}},
		{"trailing-logs ten", "invalid syntax", cluster.Tuning{}},
		{"snapshot-interval", "invalid duration", cluster.Tuning{}},
		{"heartbeat 1s", `line "heartbeat 1s": unknown`, cluster.Tuning{}},
	} {
		var got cluster.Tuning
		err := readTuning(tt.text, &got)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.err)
		}
		if got.SnapshotThreshold != tt.want.SnapshotThreshold || got.SnapshotInterval != tt.want.SnapshotInterval || got.TrailingLogs != tt.want.TrailingLogs {
			t.Errorf("%q: %+v, want %+v", tt.text, got, tt.want)
		}
	}
}

func TestReadClock(t *testing.T) {
	for _, tt := range []struct {
		text string
		want clockSetting
		ok   bool
	}{
		{"", clockSetting{0, 1}, true},
		{"wall -1h", clockSetting{-time.Hour, 1}, true},
		{"rate 0.99\nwall 10s\n", clockSetting{10 * time.Second, 0.99}, true},
		{"rate 0", clockSetting{0, 0}, true},
		{"rate -1", clockSetting{}, false},
		{"rate NaN", clockSetting{}, false},
		{"rate 101", clockSetting{}, false},
		{"wall soon", clockSetting{}, false},
		{"leap 1s", clockSetting{}, false},
	} {
		if got, err := readClock(tt.text); tt.ok != (err == nil) || tt.ok && got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
}

// Ensure a change of the rate changes nothing that has passed, and the
// monotonic clock never runs backwards, whatever the wall clock does.
func TestClockHook(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	machine := start
	c := newClockHook(func() time.Time { return machine })
	for _, step := range []struct {
		setting   clockSetting
		monotonic time.Duration // 100 s later
		wall      time.Duration // since start, then
	}{
		{clockSetting{0, 1}, 100 * time.Second, 100 * time.Second},
		{clockSetting{-time.Hour, 1}, 200 * time.Second, 200*time.Second - time.Hour},
		{clockSetting{0, 1.01}, 301 * time.Second, 301 * time.Second},
		{clockSetting{10 * time.Second, 0}, 301 * time.Second, 310 * time.Second},
		{clockSetting{0, 1}, 401 * time.Second, 500 * time.Second},
	} {
		c.set(step.setting)
		machine = machine.Add(100 * time.Second)
		if got := c.monotonic(); got.Round(time.Microsecond) != step.monotonic {
			t.Errorf("%+v: monotonic %v, want %v", step.setting, got, step.monotonic)
		}
		if got := c.wall().Sub(start); got.Round(time.Microsecond) != step.wall {
			t.Errorf("%+v: wall %v, want %v", step.setting, got, step.wall)
		}
	}
}

// Ensure the clock follows its file, soon after it has changed, and a wrong
// file changes nothing.
func TestClockFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		c := newClockHook(time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		go c.follow(ctx, path, slog.New(slog.NewTextHandler(&lines, nil)))
		for _, step := range []struct {
			text string
			rate float64
		}{{"", 1}, {"rate 2", 2}, {"rate two", 2}, {"rate 0", 0}} {
			if err := errors.Join(os.WriteFile(path+".new", []byte(step.text), 0o600), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * clockHookPause)
			before := c.monotonic()
			time.Sleep(time.Second)
			if got := c.monotonic() - before; got != time.Duration(step.rate)*time.Second {
				t.Errorf("%q: a second took %v", step.text, got)
			}
		}
		cancel()
		synctest.Wait()
		if !strings.Contains(lines.String(), "the clock's test hook is wrong") {
			t.Errorf("nothing tells of the wrong file: %s", &lines)
		}
	})
}

func TestTestHooks(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	off, err := testHooks(t.Context(), "", log)
	if err != nil || off.Wall != nil || off.Monotonic != nil || lines.Len() > 0 {
		t.Errorf("without hooks: %+v, %v, %s", off, err, &lines)
	}
	dir := t.TempDir()
	on, err := testHooks(t.Context(), dir, log)
	if err != nil || on.Wall == nil || on.Monotonic == nil || !strings.Contains(lines.String(), "TEST HOOKS ARE ON") {
		t.Errorf("with an empty directory: %+v, %v, %s", on, err, &lines)
	}
	if err := os.WriteFile(filepath.Join(dir, "tuning"), []byte("never 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := testHooks(t.Context(), dir, log); err == nil || !strings.Contains(err.Error(), `STATERAFT_TEST_HOOKS: tuning: line "never 1": unknown`) {
		t.Errorf("a wrong tuning: %v", err)
	}
}
