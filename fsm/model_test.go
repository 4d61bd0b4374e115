package fsm

import (
	"cmp"
	"slices"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// A model is the state as plainly as it can be written: maps, slices, full
// scans. It knows the rules and nothing of the trees.
type model struct {
	index, revision uint64
	clock, offset   int64
	settings        *fsmpb.Settings
	keys            map[name]modelKey
	floors          map[string]modelFloor
	changes         []Change // that are kept
	records         map[string]modelRecord
	sessions        map[string]*modelSession // by node
}

type name struct{ ns, key string }

type modelKey struct {
	value                      string
	version, revision          uint64
	created, updated, deadline int64
	session                    string
}

type modelFloor struct {
	version uint64
	emptied int64 // only of those without keys
}

type modelRecord struct {
	request string
	time    int64
	answer  *fsmpb.Answer
}

type modelSession struct {
	number, low uint64
	boot        string
	answered    map[uint64]*fsmpb.BatchAnswer // since it was opened
}

func newModel() *model {
	return &model{
		settings: DefaultSettings(), keys: map[name]modelKey{}, floors: map[string]modelFloor{},
		records: map[string]modelRecord{}, sessions: map[string]*modelSession{},
	}
}

func (m *model) apply(index uint64, e *fsmpb.Entry) (res Applied) {
	m.index = index
	m.clock = max(m.clock, e.Stamp)
	m.endDue()
	for ns, f := range m.floors {
		if m.isEmpty(ns) && f.emptied+m.settings.FloorRetention <= m.clock {
			delete(m.floors, ns)
		}
	}
	for k, r := range m.records {
		if r.time+10*60*1_000_000 <= m.clock {
			delete(m.records, k)
		}
	}
	if l := e.LeaderStart; l != nil {
		m.offset = l.WallOffset
		if l.Settings != nil {
			m.settings = l.Settings
		}
		m.trim()
	}
	if o := e.OpenSession; o != nil {
		s := m.sessions[o.Node.Id]
		if s == nil || s.boot != string(o.BootId) {
			s = &modelSession{number: index, boot: string(o.BootId), answered: map[uint64]*fsmpb.BatchAnswer{}}
			m.sessions[o.Node.Id] = s
		}
		res.Session = s.number
	}
	for _, b := range e.Batches {
		res.Batches = append(res.Batches, m.batch(b))
	}
	return res
}

func (m *model) members(index uint64, ids []string) {
	m.index = index
	for id := range m.sessions {
		if !slices.Contains(ids, id) {
			delete(m.sessions, id)
		}
	}
}

func (m *model) batch(b *fsmpb.Batch) *fsmpb.BatchAnswer {
	for _, s := range m.sessions {
		if s.number != b.Session {
			continue
		}
		if b.Sequence < s.low {
			return &fsmpb.BatchAnswer{Refusal: fsmpb.BatchAnswer_SEQUENCE_SETTLED}
		}
		s.low = max(s.low, min(b.Low, b.Sequence))
		if b.Sequence >= s.low+16 {
			return &fsmpb.BatchAnswer{Refusal: fsmpb.BatchAnswer_SEQUENCE_AHEAD}
		}
		if s.answered[b.Sequence] == nil {
			a := &fsmpb.BatchAnswer{}
			for _, c := range b.Commands {
				a.Answers = append(a.Answers, m.command(c))
			}
			s.answered[b.Sequence] = a
		}
		return s.answered[b.Sequence]
	}
	return &fsmpb.BatchAnswer{Refusal: fsmpb.BatchAnswer_UNKNOWN_SESSION}
}

func (m *model) command(c *fsmpb.Command) *fsmpb.Answer {
	id := string(c.IdempotencyKey)
	if r, ok := m.records[id]; ok && id != "" {
		if r.request != string(c.RequestHash) {
			return &fsmpb.Answer{Code: fsmpb.Answer_IDEMPOTENCY_MISMATCH, Revision: m.revision, Time: m.clock}
		}
		return r.answer
	}
	a := m.run(c)
	a.Revision, a.Time = m.revision, m.clock
	if id != "" {
		m.records[id] = modelRecord{request: string(c.RequestHash), time: m.clock, answer: a}
	}
	return a
}

func (m *model) run(c *fsmpb.Command) *fsmpb.Answer {
	for _, op := range c.Ops {
		if k, ok := m.keys[name{c.Namespace, op.Key}]; ok && k.isDue(m.clock) {
			m.end(name{c.Namespace, op.Key}, fsmpb.Change_EXPIRE)
		}
	}
	for i, op := range c.Ops {
		version := m.keys[name{c.Namespace, op.Key}].version // 0: absent
		if op.Condition == fsmpb.Op_AT_VERSION && version != op.ExpectedVersion || op.Condition == fsmpb.Op_EXISTS && version == 0 {
			return &fsmpb.Answer{Code: fsmpb.Answer_CONFLICT, FailedOp: uint32(i), CurrentVersion: version}
		}
	}
	before := m.revision
	a := &fsmpb.Answer{}
	for _, op := range c.Ops {
		a.Results = append(a.Results, m.op(name{c.Namespace, op.Key}, op))
	}
	if c.Atomic {
		for i := range m.changes {
			if ch := &m.changes[i]; ch.Revision > before {
				ch.First, ch.Last = before+1, m.revision
			}
		}
	}
	return a
}

func (m *model) op(n name, op *fsmpb.Op) *fsmpb.Result {
	old, present := m.keys[n]
	switch {
	case op.Kind == fsmpb.Op_CHECK:
		return &fsmpb.Result{Version: old.version}
	case op.Kind == fsmpb.Op_DELETE && present:
		return &fsmpb.Result{Version: m.end(n, fsmpb.Change_DELETE), Deleted: true}
	case op.Kind == fsmpb.Op_DELETE:
		return &fsmpb.Result{}
	}
	k := modelKey{value: string(op.Value), version: old.version + 1, created: old.created, session: op.SessionId}
	if !present {
		k.version, k.created = m.floors[n.ns].version+1, m.clock
	}
	if op.Ttl > 0 {
		k.deadline = m.clock + op.Ttl
	}
	k.revision, k.updated = m.revision+1, m.clock
	m.keys[n] = k
	ch := Change{Type: fsmpb.Change_SET, Version: k.version, Namespace: n.ns, Key: n.key, New: []byte(k.value)}
	if present {
		ch.Old = []byte(old.value)
	}
	m.record(ch)
	return &fsmpb.Result{Version: k.version}
}

func (m *model) end(n name, how fsmpb.Change_Type) uint64 {
	k := m.keys[n]
	delete(m.keys, n)
	m.floors[n.ns] = modelFloor{version: max(m.floors[n.ns].version, k.version+1), emptied: m.clock}
	m.record(Change{Type: how, Version: k.version + 1, Namespace: n.ns, Key: n.key, Old: []byte(k.value)})
	return k.version + 1
}

func (k modelKey) isDue(clock int64) bool { return k.deadline != 0 && k.deadline <= clock }

// endDue ends all that is due: tests with the model stay below maxEnds.
func (m *model) endDue() {
	var due []name
	for n, k := range m.keys {
		if k.isDue(m.clock) {
			due = append(due, n)
		}
	}
	slices.SortFunc(due, func(a, b name) int {
		return cmp.Or(cmp.Compare(m.keys[a].deadline, m.keys[b].deadline), cmp.Compare(a.ns, b.ns), cmp.Compare(a.key, b.key))
	})
	for _, n := range due {
		m.end(n, fsmpb.Change_EXPIRE)
	}
}

func (m *model) isEmpty(ns string) bool {
	for n := range m.keys {
		if n.ns == ns {
			return false
		}
	}
	return true
}

func (m *model) record(ch Change) {
	m.revision++
	ch.Revision, ch.Time = m.revision, m.clock
	m.changes = append(m.changes, ch)
	m.trim()
}

func (m *model) trim() {
	bytes := func() (n uint64) {
		for _, ch := range m.changes {
			n += changeOverhead + uint64(len(ch.Key)+len(ch.Old)+len(ch.New))
		}
		return n
	}
	for len(m.changes) > 0 && (uint64(len(m.changes)) > m.settings.HistoryEvents || bytes() > m.settings.HistoryBytes) {
		m.changes = m.changes[1:]
	}
}
