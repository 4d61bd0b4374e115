package check_test

import (
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/check"
	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure what was acknowledged before a backup is in it, also where nobody follows.
func TestBackupHasAdds(t *testing.T) {
	add := func(call, ret int, key string, revision uint64) history.Op {
		op := at(call, ret, token(0, revision, on(key, set("1", 1))))
		op.Workload = "adds"
		return op
	}
	covered, later := add(0, 1, "a", 10), add(20, 21, "b", 12)
	early := add(2, 3, "c", 11) // and the backup is of an older state
	taken := at(5, 6, history.Op{Workload: "backup", Kind: history.Backup, Revision: 10})
	restored := func(o history.Outcome, entries ...history.Entry) history.Op {
		return at(12, 13, history.Op{Workload: "backup", Kind: history.Restore, Key: "adds", Workflow: "w", Revision: 10, Outcome: o, Entries: entries})
	}
	for _, tt := range []struct {
		name  string
		ops   []history.Op
		wrong bool
	}{
		{"there", []history.Op{covered, later, taken, restored(history.OK, has("a", "1", 1))}, false},
		{"one of unknown outcome more", []history.Op{covered, unknown(add(2, 9, "b", 0)), taken, restored(history.OK, has("a", "1", 1), has("b", "1", 1))}, false},
		{"one of unknown outcome not", []history.Op{covered, unknown(add(2, 9, "b", 0)), taken, restored(history.OK, has("a", "1", 1))}, false},
		{"one of another workflow not", []history.Op{covered, within("x", covered), taken, restored(history.OK, has("a", "1", 1))}, false},
		{"one of a later revision more", []history.Op{covered, later, taken, restored(history.OK, has("a", "1", 1), has("b", "1", 1))}, true},
		{"one that was refused more", []history.Op{covered, refused(later), taken, restored(history.OK, has("a", "1", 1), has("b", "1", 1))}, true},
		{"one that nobody wrote more", []history.Op{covered, taken, restored(history.OK, has("a", "1", 1), has("b", "1", 1))}, true},
		{"another value of one of unknown outcome", []history.Op{covered, unknown(add(2, 9, "b", 0)), taken, restored(history.OK, has("a", "1", 1), has("b", "2", 1))}, true},
		{"lost", []history.Op{covered, later, taken, restored(history.OK)}, true},
		{"another version", []history.Op{covered, later, taken, restored(history.OK, has("a", "1", 2))}, true},
		{"a backup from the past", []history.Op{covered, early, taken, restored(history.OK, has("a", "1", 1))}, true},
		{"no list", []history.Op{covered, taken, restored(history.Refused)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judge(t, check.Backup(&history.History{Ops: tt.ops}), tt.wrong)
		})
	}
}
