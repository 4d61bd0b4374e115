package main

import (
	"strconv"
	"strings"
)

// reach returns how many changes nodes with these flags remember; 0: as many as
// by default. The last flag counts, as the nodes have it.
func reach(flags []string) (changes uint64) {
	const name = "--history-events"
	for i, flag := range flags {
		value, isSet := strings.CutPrefix(flag, name+"=")
		if flag == name && i+1 < len(flags) {
			value, isSet = flags[i+1], true
		}
		if n, err := strconv.ParseUint(value, 10, 64); isSet && err == nil {
			changes = n
		}
	}
	return changes
}
