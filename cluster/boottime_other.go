//go:build !linux

package cluster

import "time"

// bootTime is not known here: after a restart of all nodes, wall clocks count.
func bootTime() (boot string, since time.Duration, ok bool) { return "", 0, false }
