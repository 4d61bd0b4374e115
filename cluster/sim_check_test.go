package cluster

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A simCheck knows what has happened. It applies the committed log to a state
// of its own, which is never restored, and holds the nodes to that; and it
// holds that state's changes and all that clients are told to a model in which a
// key is a list of changes.
type simCheck struct {
	log     []simEntry     // committed; index 1 first
	leaders map[uint64]int // by term
	applied uint64
	founded bool
	booted  bool
	least   time.Duration // that cluster time was behind real time
	most    time.Duration
	oracle  *fsm.State
	hashes  map[uint64]uint64 // of the oracle, by index

	changes []*fsm.Change // by revision; the first is 1
	keys    map[simKey][]*fsm.Change
	floors  map[string]uint64
	effects map[int][]*fsm.Change // sets, by the operation's number
	claimed map[uint64]int        // deletes that somebody was told of: who
	ops     func(number int) *simOp
	acked   uint64        // highest revision that anybody was told of
	calm    int64         // cluster time from which keys end on time; 0: not yet
	late    time.Duration // that they may be
}

type simKey struct{ ns, key string }

// simViolation ends a schedule.
type simViolation string

func newSimCheck(ops func(number int) *simOp) *simCheck {
	return &simCheck{
		ops:     ops,
		leaders: map[uint64]int{}, oracle: fsm.New(), hashes: map[uint64]uint64{}, keys: map[simKey][]*fsm.Change{},
		floors: map[string]uint64{}, effects: map[int][]*fsm.Change{}, claimed: map[uint64]int{},
	}
}

func (c *simCheck) that(ok bool, format string, args ...any) {
	if !ok {
		panic(simViolation(fmt.Sprintf(format, args...)))
	}
}

// elected, committed: what the simulated Raft itself must hold to.
func (c *simCheck) elected(id int, term uint64) {
	was, taken := c.leaders[term]
	c.that(!taken, "nodes %d and %d both lead in term %d", was, id, term)
	c.leaders[term] = id
}

func (c *simCheck) committed(index uint64, e simEntry) {
	if index <= uint64(len(c.log)) {
		was := c.log[index-1]
		c.that(was.term == e.term && bytes.Equal(was.data, e.data), "entry %d is committed twice, of terms %d and %d", index, was.term, e.term)
		return
	}
	c.log = append(c.log, e)
}

// apply has the oracle apply an entry, if it is the next one, and looks at
// what that changed.
func (c *simCheck) apply(index uint64, e simEntry) {
	if index <= c.applied {
		return
	}
	c.applied = index
	switch e.kind {
	case raft.LogNoop:
		return
	case raft.LogConfiguration:
		var ids []string
		for _, s := range raft.DecodeConfiguration(e.data).Servers {
			ids = append(ids, string(s.ID))
		}
		c.oracle.Members(index, ids)
	default:
		_, err := c.oracle.Apply(index, e.data)
		c.that(err == nil, "%v", err)
		c.time(index, e.proposed)
	}
	c.hashes[index] = c.oracle.Stats().Hash
	c.that(!c.oracle.EndsWaiting(), "entry %d leaves keys that are due", index)
	had := uint64(len(c.changes))
	changes, ok := c.oracle.Changes(had, int(c.oracle.Point().Revision-had))
	c.that(ok && had+uint64(len(changes)) == c.oracle.Point().Revision, "entry %d leaves %d changes after revision %d, and the state is at %d", index, len(changes), had, c.oracle.Point().Revision)
	for _, change := range changes {
		c.change(change)
	}
}

// state compares a node's state with the oracle's at the same index.
func (c *simCheck) state(s *simNode) {
	st := s.real.state.Stats()
	want, ok := c.hashes[st.Index]
	c.that(ok && st.Hash == want, "node %d has another state than the log gives at index %d", s.id, st.Index)
}

// change looks whether a change may follow those before it.
func (c *simCheck) change(ch *fsm.Change) {
	what := fmt.Sprintf("change %d of %s/%s, version %d", ch.Revision, ch.Namespace, ch.Key, ch.Version)
	at := simKey{ch.Namespace, ch.Key}
	old := last(c.keys[at])
	c.that(ch.Revision == uint64(len(c.changes))+1, "%s follows change %d", what, len(c.changes))
	if isPresent(old) {
		c.that(ch.Version == old.Version+1, "%s follows version %d", what, old.Version)
		c.that(bytes.Equal(ch.Old, old.New), "%s replaces %q, which is not the value", what, ch.Old)
	} else {
		c.that(ch.Type == fsmpb.Change_SET && ch.Old == nil, "%s ends a key that is absent", what)
		c.that(ch.Version == c.floors[at.ns]+1, "%s begins a key, and version %d was taken", what, c.floors[at.ns])
	}
	switch ch.Type {
	case fsmpb.Change_SET:
		c.set(ch, what)
	case fsmpb.Change_EXPIRE:
		c.expire(ch, old, what)
	}
	if ch.Type != fsmpb.Change_SET {
		c.floors[at.ns] = max(c.floors[at.ns], ch.Version)
	}
	c.changes = append(c.changes, ch)
	c.keys[at] = append(c.keys[at], ch)
}

func last(changes []*fsm.Change) *fsm.Change {
	if len(changes) == 0 {
		return nil
	}
	return changes[len(changes)-1]
}

func isPresent(ch *fsm.Change) bool { return ch != nil && ch.Type == fsmpb.Change_SET }

// set: the value names the operation, which sets each of its keys once.
func (c *simCheck) set(ch *fsm.Change, what string) {
	op := c.opOf(ch)
	c.that(op != nil && c.opFor(op, ch.Key) != nil, "%s has the value %q, which nobody wrote there", what, ch.New)
	for _, other := range c.effects[op.number] {
		c.that(other.Key != ch.Key, "%s is operation %d again, which was change %d", what, op.number, other.Revision)
	}
	c.effects[op.number] = append(c.effects[op.number], ch)
}

func (c *simCheck) opOf(ch *fsm.Change) *simOp {
	number, _ := strconv.Atoi(string(ch.New))
	return c.ops(number)
}

func (c *simCheck) opFor(op *simOp, key string) *fsmpb.Op {
	for _, o := range op.command.GetOps() {
		if o.Key == key {
			return o
		}
	}
	return nil
}

// simBoot is how much cluster time may gain when machines have booted, and only
// wall clocks and notes of them are left.
const simBoot = 5 * time.Second

// time: cluster time may fall behind real time when it goes over to another
// leader, and never makes up for that, whatever wall clocks show: keys would end
// early. Only when machines boot it may, within a bound, once each node has heard
// of it.
func (c *simCheck) time(index uint64, proposed time.Time) {
	behind := time.Duration(proposed.UnixMicro()-c.oracle.Clock()) * time.Microsecond
	c.that(behind >= 0, "entry %d brings cluster time to %v ahead of real time", index, -behind)
	if !c.founded {
		c.least, c.most = behind, behind
	}
	bound := c.most - time.Microsecond // clocks count whole ones
	if c.booted {
		bound = c.least - simBoot
	}
	c.that(behind >= bound, "entry %d brings cluster time to %v behind real time, and it was %v to %v behind", index, behind, c.least, c.most)
	c.least, c.most = min(c.least, behind), max(c.most, behind)
}

// expire: never before the deadline, and in the end soon after.
func (c *simCheck) expire(ch, old *fsm.Change, what string) {
	ttl := c.opFor(c.opOf(old), ch.Key).Ttl
	c.that(ttl > 0, "%s: it has no deadline", what)
	c.that(ch.Time >= old.Time+ttl, "%s: it ends %d µs of cluster time too early", what, old.Time+ttl-ch.Time)
	late := time.Duration(ch.Time-old.Time-ttl) * time.Microsecond
	c.that(c.calm == 0 || old.Time+ttl < c.calm || late <= c.late, "%s: it ends %v late", what, late)
}

// version is what a client that has just looked would expect.
func (c *simCheck) version(ns, key string) uint64 {
	return versionIn(last(c.keys[simKey{ns, key}]))
}

func versionIn(ch *fsm.Change) uint64 {
	if !isPresent(ch) {
		return 0
	}
	return ch.Version
}

// at returns the last change of the key at a revision, or nil.
func (c *simCheck) at(ns, key string, revision uint64) *fsm.Change {
	changes := c.keys[simKey{ns, key}]
	i, found := slices.BinarySearchFunc(changes, revision, func(ch *fsm.Change, r uint64) int { return cmp.Compare(ch.Revision, r) })
	if found {
		return changes[i]
	}
	if i == 0 {
		return nil
	}
	return changes[i-1]
}

// linear: an answer stands for a state no older than anything that anybody was
// told before the question.
func (c *simCheck) linear(op *simOp, revision uint64) {
	c.that(revision >= op.floor, "operation %d is answered from revision %d, and %d was acknowledged before it began", op.number, revision, op.floor)
	c.that(revision <= uint64(len(c.changes)), "operation %d is answered from revision %d, and there are %d", op.number, revision, len(c.changes))
	c.acked = max(c.acked, revision)
}

func (c *simCheck) read(op *simOp) {
	page := op.heard.page
	c.linear(op, page.Point.Revision)
	keys := []string{op.key}
	if op.key == "" {
		keys = simKeys
	}
	c.page(fmt.Sprintf("operation %d", op.number), op.ns, keys, page)
}

// page looks whether a page holds what is present of keys at its revision.
func (c *simCheck) page(who, ns string, keys []string, page fsm.Page) {
	for _, key := range keys {
		want := c.at(ns, key, page.Point.Revision)
		i := slices.IndexFunc(page.Entries, func(e fsm.Entry) bool { return e.Key == key })
		c.that(isPresent(want) == (i >= 0), "%s reads %s/%s at revision %d: got %v, want it present: %v", who, ns, key, page.Point.Revision, page.Entries, isPresent(want))
		if i >= 0 {
			e := page.Entries[i]
			c.that(e.Version == want.Version && e.Revision == want.Revision && bytes.Equal(e.Value, want.New), "%s reads %s/%s at revision %d: got %v, want change %d", who, ns, key, page.Point.Revision, e, want.Revision)
		}
	}
}

// wrote looks at the answer to a write.
func (c *simCheck) wrote(op *simOp) {
	a := op.heard.answer
	if op.answer != nil {
		c.that(proto.Equal(a, op.answer), "operation %d is answered %v, and was %v before", op.number, a, op.answer)
		return
	}
	op.answer = a
	c.linear(op, a.Revision)
	switch a.Code {
	case fsmpb.Answer_OK:
		for i, o := range op.command.Ops {
			c.wroteOne(op, o, a, a.Results[i])
		}
	case fsmpb.Answer_CONFLICT:
		o := op.command.Ops[a.FailedOp]
		is := versionIn(c.at(op.ns, o.Key, a.Revision))
		fails := o.Condition == fsmpb.Op_AT_VERSION && is != o.ExpectedVersion || o.Condition == fsmpb.Op_EXISTS && is == 0
		c.that(fails && is == a.CurrentVersion, "operation %d is refused at version %d, and the key is at %d", op.number, a.CurrentVersion, is)
		c.that(len(c.effects[op.number]) == 0, "operation %d was refused and had an effect", op.number)
	default:
		c.that(false, "operation %d is answered %v", op.number, a)
	}
}

// wroteOne looks at what one operation of a command did.
func (c *simCheck) wroteOne(op *simOp, o *fsmpb.Op, a *fsmpb.Answer, res *fsmpb.Result) {
	ch := c.at(op.ns, o.Key, a.Revision)
	before := ch // the key's last change before the command
	if o.Kind == fsmpb.Op_SET || res.Deleted {
		c.that(ch != nil && ch.Version == res.Version && ch.Revision > op.floor, "operation %d is told of version %d of %s, and it is at %v", op.number, res.Version, o.Key, ch)
		before = c.at(op.ns, o.Key, ch.Revision-1)
	}
	switch {
	case o.Kind == fsmpb.Op_SET:
		c.that(c.opOf(ch) == op, "operation %d is told of change %d, which is another's", op.number, ch.Revision)
	case res.Deleted:
		was := c.claimed[ch.Revision]
		c.that(ch.Type == fsmpb.Change_DELETE && was == 0, "operations %d and %d are both told of change %d", was, op.number, ch.Revision)
		c.claimed[ch.Revision] = op.number
	case o.Kind == fsmpb.Op_DELETE:
		c.that(!isPresent(ch), "operation %d is told that %s is absent at revision %d, and it is not", op.number, o.Key, a.Revision)
	}
	is := versionIn(before)
	holds := (o.Condition != fsmpb.Op_AT_VERSION || is == o.ExpectedVersion) && (o.Condition != fsmpb.Op_EXISTS || is != 0)
	c.that(holds, "operation %d changes %s, at version %d, against its condition", op.number, o.Key, is)
}

// told looks at a change that somebody who follows the history was told.
func (c *simCheck) told(revision uint64, got *fsm.Change) {
	want := c.changes[revision-1]
	ok := got.Revision == want.Revision && got.Type == want.Type && got.Version == want.Version && got.Namespace == want.Namespace && got.Key == want.Key &&
		bytes.Equal(got.Old, want.Old) && bytes.Equal(got.New, want.New) && got.First == want.First && got.Last == want.Last && got.Time == want.Time
	c.that(ok, "a follower is told %+v, and change %d is %+v", got, revision, want)
}

// resync reads all keys in place of changes that the history no longer has, and
// returns the revision that they are of.
func (c *simCheck) resync(s *fsm.State, cursor uint64) uint64 {
	revision := s.Point().Revision
	c.that(revision > cursor, "a follower at revision %d is told to begin anew at %d", cursor, revision)
	for _, ns := range simSpaces {
		c.page("a follower", ns, simKeys, s.List(ns, fsm.Query{}))
	}
	return revision
}

// atomic: the changes of one command follow each other and say so.
func (c *simCheck) atomic(op *simOp) {
	for _, ch := range c.effects[op.number] {
		whole := !op.command.Atomic && ch.First == 0 || op.command.Atomic && ch.First <= ch.Revision && ch.Revision <= ch.Last && ch.Last-ch.First < uint64(len(op.command.Ops))
		c.that(whole, "operation %d makes change %d, of %d to %d", op.number, ch.Revision, ch.First, ch.Last)
	}
}

// ended looks at all operations when nothing is under way any more.
func (c *simCheck) ended(ops []*simOp) {
	mayDelete := map[simKey]int{} // of unknown outcome
	for _, op := range ops {
		c.atomic(op)
		sets := 0
		for _, o := range op.command.GetOps() {
			if o.Kind == fsmpb.Op_SET {
				sets++
			}
			if o.Kind == fsmpb.Op_DELETE && op.unknown {
				mayDelete[simKey{op.ns, o.Key}]++
			}
		}
		switch n := len(c.effects[op.number]); {
		case op.failed:
			c.that(n == 0, "operation %d did not happen, and had %d effects", op.number, n)
		case op.answer != nil && op.answer.Code == fsmpb.Answer_OK:
			c.that(n == sets, "operation %d happened, with %d effects of %d", op.number, n, sets)
		default:
			c.that(n == 0 || n == sets, "operation %d had %d effects of %d", op.number, n, sets)
		}
	}
	for _, ch := range c.changes {
		if at := (simKey{ch.Namespace, ch.Key}); ch.Type == fsmpb.Change_DELETE && c.claimed[ch.Revision] == 0 {
			mayDelete[at]--
			c.that(mayDelete[at] >= 0, "change %d deletes %v, and nobody did", ch.Revision, at)
		}
	}
}

// same compares whole states, byte for byte, with one that only ever applied
// the log.
func (c *simCheck) same(nodes []*simNode) {
	var want, got bytes.Buffer
	c.that(c.oracle.Freeze().Save(&want) == nil, "the oracle's state cannot be written")
	for _, s := range nodes {
		got.Reset()
		c.that(s.real.state.Freeze().Save(&got) == nil, "the state of node %d cannot be written", s.id)
		c.that(bytes.Equal(got.Bytes(), want.Bytes()), "node %d has other bytes than the log gives", s.id)
	}
}
