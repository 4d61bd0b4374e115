package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// shownApart is how far apart two nodes' instants of one end may be: what is
// shown is rounded, and moves with the leader's wall clock.
const shownApart = time.Second

// Backup checks backups that were restored into another cluster: it shows every
// key, version and end that the tested one had at the backup's revision (ends not
// once a node's clocks were wrong: a backup holds them as instants), and
// remembers the versions of what was deleted; tokens and ids from before are
// recognised; a file that is damaged, or not asked to replace anything, is
// refused and changes nothing. Of adds, which nobody follows, all that was
// acknowledged by then is there.
func Backup(h *history.History) *Verdict {
	v := &Verdict{Name: "backup", Promise: "a backup is the state of its revision; a damaged one is refused and changes nothing"}
	questions := map[string][]question{}
	ends := endsShown(h)
	taken, restored := 0, 0
	for _, op := range h.Of("backup") {
		switch {
		case op.Kind == history.Backup && op.Outcome == history.OK:
			taken++
			continue
		case op.Kind == history.Resume:
			resumed(v, op)
		case op.Kind != history.Restore:
			continue
		case op.Key == "keys":
			questions[op.Workflow] = append(questions[op.Workflow], question{op.Revision, func(s *state) { s.compareRestored(op, ends, h) }})
		case op.Key == "adds":
			addsRestored(v, h, op)
		case op.Key == "token":
			tokenUnknown(v, op)
		case op.Key == "whole":
			if op.Outcome != history.OK {
				v.Fail("the backup of revision %d was not restored: %s", op.Revision, op.Error)
			}
			restored++
		default:
			refusedRestore(v, op)
		}
		v.Checked++
	}
	for workload := range workloadsOf(h, questions) {
		for workflow, t := range truths(h, workload, &Verdict{}) {
			t.replay(&Verdict{}, asking(v, questions[workflow]))
		}
	}
	v.note("%d taken, %d restored", taken, restored)
	return v
}

// workloadsOf returns the workloads whose subscribers follow the workflows.
func workloadsOf(h *history.History, questions map[string][]question) map[string]bool {
	workloads := map[string]bool{}
	for _, s := range h.Subscribers {
		if len(questions[s.Workflow]) > 0 {
			workloads[s.Workload] = true
		}
	}
	return workloads
}

// asking gives the questions' findings to v: what else is wrong with a workflow
// is for its own checker.
func asking(v *Verdict, questions []question) []question {
	var asked []question
	for _, q := range questions {
		asked = append(asked, question{q.at, func(s *state) {
			own := *s
			own.v = v
			q.ask(&own)
		}})
	}
	return asked
}

// end is the instants at which a key of a version was shown to end.
type end struct {
	slot    slot
	version uint64
}

// endsShown returns the ends that lists of the tested cluster showed. Those
// that were shown apart are left out.
func endsShown(h *history.History) map[end]time.Time {
	ends, apart := map[end]time.Time{}, map[end]bool{}
	for _, op := range h.Of("backup") {
		if op.Kind != history.List {
			continue
		}
		for _, e := range op.Entries {
			at, err := time.Parse(time.RFC3339, e.Expires)
			key := end{slot{op.Workflow, e.Key}, e.Version}
			if err != nil {
				continue
			}
			switch first, known := ends[key]; {
			case !known:
				ends[key] = at
			case first.Sub(at).Abs() > shownApart:
				apart[key] = true
			}
		}
	}
	for key := range apart {
		delete(ends, key)
	}
	return ends
}

// compareRestored compares a workflow of the other cluster with what it was at
// the backup's revision.
func (s *state) compareRestored(op history.Op, ends map[end]time.Time, h *history.History) {
	if op.Outcome != history.OK {
		s.v.Fail("%s cannot be listed, or get a key, after the restore of revision %d: %s", s.workflow, op.Revision, op.Error)
		return
	}
	there := map[string]history.Entry{}
	for _, e := range op.Entries {
		there[e.Key] = e
		want, present := s.keys[e.Key]
		if !present || e.Value != want.New || e.Version != want.Version {
			s.v.Fail("restored from revision %d: %s/%s = %s at version %d, want %q at %d", op.Revision, s.workflow, e.Key, e.Value, e.Version, want.New, want.Version)
		}
		at, known := ends[end{slot{s.workflow, e.Key}, e.Version}]
		if shown, _ := time.Parse(time.RFC3339, e.Expires); known && shown.Sub(at).Abs() > shownApart && !h.ShowsWrong(op.Return) {
			s.v.Fail("restored from revision %d: %s/%s ends at %q, want %v", op.Revision, s.workflow, e.Key, e.Expires, at)
		}
	}
	for key, e := range s.keys {
		if _, found := there[key]; !found && !mayHaveEnded(h, op, s.workflow, e) {
			s.v.Fail("not restored from revision %d: %s/%s = %s at version %d", op.Revision, s.workflow, key, e.New, e.Version)
		}
	}
	if op.Version <= s.floor {
		s.v.Fail("restored from revision %d, a key made anew in %s got version %d, and %d had been deleted or had ended", op.Revision, s.workflow, op.Version, s.floor)
	}
}

// mayHaveEnded reports whether the time of a key may have come before the
// other cluster was asked.
func mayHaveEnded(h *history.History, asked history.Op, workflow string, e history.Event) bool {
	for _, op := range h.Ops {
		if op.Workflow == workflow && op.Key == e.Key && op.Value == e.New && op.Kind.IsWrite() {
			return op.TTL > 0 && (op.Call+op.TTL <= asked.Return || h.ShowsWrong(asked.Return))
		}
	}
	return false
}

// addsRestored compares adds with those that were acknowledged as of a revision
// that the backup covers, or before it was asked for. It has none of a later one.
func addsRestored(v *Verdict, h *history.History, restored history.Op) {
	if restored.Outcome != history.OK {
		v.Fail("%s cannot be listed after the restore of revision %d: %s", restored.Workflow, restored.Revision, restored.Error)
		return
	}
	there := map[slot]history.Entry{}
	for _, e := range restored.Entries {
		there[slot{restored.Workflow, e.Key}] = e
	}
	asked := time.Duration(0)
	for _, op := range h.Of("backup") {
		if op.Kind == history.Backup && op.Outcome == history.OK && op.Revision == restored.Revision {
			asked = max(asked, op.Call)
		}
	}
	adds := slices.DeleteFunc(h.Of("adds"), func(op history.Op) bool { return op.Workflow != restored.Workflow })
	compareAdds(v, adds, there, func(op history.Op) (must, may bool) {
		isCovered := op.Revision > 0 && op.Revision <= restored.Revision
		return isCovered || op.Return < asked, op.Revision <= restored.Revision
	}, fmt.Sprintf("after the restore of revision %d, asked for at %v", restored.Revision, asked))
}

func tokenUnknown(v *Verdict, op history.Op) {
	if op.Error != "REVISION_UNKNOWN" {
		v.Fail("revision %d is from before the restore, and as a token was answered with %s %q", op.Revision, op.Outcome, op.Error)
	}
}

func resumed(v *Verdict, op history.Op) {
	v.Checked++
	if !op.Found || op.Outcome != history.OK {
		v.Fail("a stream with id %d, from before the restore: resync %t, then %d keys, then %s %s", op.Revision, op.Found, len(op.Entries), op.Outcome, op.Error)
	}
}

func refusedRestore(v *Verdict, op history.Op) {
	if op.Outcome != history.Refused {
		v.Fail("a restore of a backup of revision %d, %s, was not refused: %s %s", op.Revision, op.Key, op.Outcome, op.Error)
	}
	if op.Value == "" || op.Value != op.Present {
		v.Fail("a restore of a backup of revision %d, %s, changed the state from %s to %s", op.Revision, op.Key, op.Present, op.Value)
	}
}
