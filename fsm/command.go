package fsm

import (
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// execute runs one command, or finds that it ran before.
func (d *data) execute(c *fsmpb.Command) *fsmpb.Answer {
	if len(c.IdempotencyKey) == 0 {
		return d.run(c)
	}
	return d.records.once(c, d.point(), func() *fsmpb.Answer { return d.run(c) })
}

// run carries out all operations of c, or none: what is due ends first, then
// every condition is checked, then the changes are made.
func (d *data) run(c *fsmpb.Command) *fsmpb.Answer {
	olds := make([]*key, len(c.Ops))
	for i, op := range c.Ops {
		olds[i] = d.current(c.Namespace, op.Key)
	}
	for i, op := range c.Ops {
		if v := versionOf(olds[i]); !holds(op, v) {
			a := d.point()
			a.Code, a.FailedOp, a.CurrentVersion = fsmpb.Answer_CONFLICT, uint32(i), v
			return a
		}
	}
	span := d.span(c, olds)
	results := make([]fsmpb.Result, len(c.Ops))
	a := &fsmpb.Answer{Results: make([]*fsmpb.Result, len(c.Ops))}
	for i, op := range c.Ops {
		a.Results[i] = &results[i]
		d.do(c.Namespace, op, olds[i], span, &results[i])
	}
	a.Revision, a.Time = d.revision, d.clock
	return a
}

// point is an answer that says only where the state stands.
func (d *data) point() *fsmpb.Answer {
	return &fsmpb.Answer{Revision: d.revision, Time: d.clock}
}

// current returns the live key, or nil; it ends one that is due.
func (d *data) current(ns, name string) *key {
	k, ok := d.keys.Get(&key{ns: ns, name: name})
	if !ok {
		return nil
	}
	if !d.live(k) {
		d.end(k, fsmpb.Change_EXPIRE, span{})
		return nil
	}
	return k
}

func versionOf(k *key) uint64 {
	if k == nil {
		return 0
	}
	return k.version
}

// holds reports whether op's condition holds for a key at version (0: absent).
func holds(op *fsmpb.Op, version uint64) bool {
	switch op.Condition {
	case fsmpb.Op_AT_VERSION:
		return version == op.ExpectedVersion
	case fsmpb.Op_EXISTS:
		return version != 0
	default:
		return true
	}
}

// A span is the revisions of one atomic write; zero for other writes.
type span struct{ first, last uint64 }

// span foresees the revisions that the operations of an atomic command take.
func (d *data) span(c *fsmpb.Command, olds []*key) span {
	if !c.Atomic {
		return span{}
	}
	n := uint64(0)
	for i, op := range c.Ops {
		if op.Kind == fsmpb.Op_SET || op.Kind == fsmpb.Op_DELETE && olds[i] != nil {
			n++
		}
	}
	return span{d.revision + 1, d.revision + n}
}

func (d *data) do(ns string, op *fsmpb.Op, old *key, sp span, res *fsmpb.Result) {
	switch op.Kind {
	case fsmpb.Op_SET:
		res.Version = d.set(ns, op, old, sp)
	case fsmpb.Op_DELETE:
		if old != nil {
			res.Version, res.Deleted = d.end(old, fsmpb.Change_DELETE, sp), true
		}
	case fsmpb.Op_CHECK:
		res.Version = versionOf(old)
	}
}

// set writes op's value over old (or nil) and returns its version.
func (d *data) set(ns string, op *fsmpb.Op, old *key, sp span) uint64 {
	k := &key{
		name:      op.Key,
		value:     op.Value,
		revision:  d.revision + 1,
		updated:   d.clock,
		sessionID: op.SessionId,
	}
	if op.Ttl > 0 {
		k.deadline = d.clock + op.Ttl
	}
	if old != nil {
		k.ns, k.name, k.version, k.created = old.ns, old.name, old.version+1, old.created
	} else {
		k.ns, k.version, k.created = d.intern(ns), d.floorOf(ns)+1, d.clock
		d.refill(ns)
	}
	d.put(old, k)
	d.record(&Change{
		Type: fsmpb.Change_SET, Version: k.version, Namespace: k.ns, Key: k.name,
		Old: valueOf(old), New: k.value, First: sp.first, Last: sp.last,
	})
	return k.version
}

// end removes k, which takes one more version, and returns that version.
func (d *data) end(k *key, how fsmpb.Change_Type, sp span) uint64 {
	version := k.version + 1
	d.remove(k)
	d.raiseFloor(k.ns, version, d.clock)
	d.record(&Change{
		Type: how, Version: version, Namespace: k.ns, Key: k.name,
		Old: k.value, First: sp.first, Last: sp.last,
	})
	return version
}

func valueOf(k *key) []byte {
	if k == nil {
		return nil
	}
	return k.value
}

// expire ends keys whose deadline has come, in order, at most n of them.
func (d *data) expire(n int) {
	for ; n > 0; n-- {
		k, ok := d.due.Min()
		if !ok || d.live(k) {
			return
		}
		d.end(k, fsmpb.Change_EXPIRE, span{})
	}
}
