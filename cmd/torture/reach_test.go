package main

import (
	"strings"
	"testing"
)

func TestReach(t *testing.T) {
	for flags, want := range map[string]uint64{
		"": 0, "--log-level debug": 0, "--history-events 7": 7, "--history-events=7": 7,
		"--history-events 7 --history-events 8": 8, "--history-events": 0, "--history-events=x": 0,
	} {
		if got := reach(strings.Fields(flags)); got != want {
			t.Errorf("%q: got %d, want %d", flags, got, want)
		}
	}
}
