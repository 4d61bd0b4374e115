package cluster

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootTime returns the time since the machine booted, less what it slept, and
// what identifies that boot. No change of the wall clock touches it, and it
// goes on while the process does not run. It is the clock that a leader counts
// cluster time with, so it is not ahead where the leader slept too.
func bootTime() (boot string, since time.Duration, ok bool) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, false
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return "", 0, false
	}
	return strings.TrimSpace(string(id)), time.Duration(ts.Nano()), true
}
