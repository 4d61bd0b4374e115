package planted

// Control is no bug: what keeps its promises passes the same runs.
var Control = Bug{Name: "control", About: "nothing is changed"}

// smallSnapshots is no bug: it lets nodes write a snapshot every few hundred
// entries, so that short runs restore some.
var smallSnapshots = Edit{
	File: "cluster/config.go",
	Old:  "t.SnapshotThreshold = cmp.Or(t.SnapshotThreshold, 8192)\n	t.SnapshotInterval = cmp.Or(t.SnapshotInterval, 30*time.Second)",
	New:  "t.SnapshotThreshold = cmp.Or(t.SnapshotThreshold, 64)\n	t.SnapshotInterval = cmp.Or(t.SnapshotInterval, 500*time.Millisecond)",
}

// Bugs are the bugs.
var Bugs = append(storeBugs, tenantBugs...)

// storeBugs are those of single keys, streams and snapshots.
var storeBugs = []Bug{
	{
		Name: "stale read", About: "a linearizable read asks nobody",
		Edits:     []Edit{{"cluster/read.go", "index, err := r.join().wait(ctx)", "index, err := uint64(0), error(nil)"}},
		Workloads: "register", By: "linearizable", Always: true,
	},
	{
		Name: "impatient read", About: "a read does not wait until its node has applied the index that covers it",
		Edits:     []Edit{{"cluster/read.go", "if err == nil && r.applied.wait(ctx, index) == nil {", "if err == nil && index > 0 {"}},
		Workloads: "register", By: "linearizable",
	},
	{
		Name: "early acknowledgement", About: "the leader answers a write 30 ms before it gives it to Raft, with the version that it will have",
		Edits: []Edit{{
			"cluster/forward.go",
			"	res, err := n.committer.commit(ctx, e)\n",
			`	if p.Batch != nil {
		a := new(fsmpb.BatchAnswer)
		for _, c := range p.Batch.Commands {
			k, _, at := n.state.Get(c.Namespace, c.Ops[0].Key)
			a.Answers = append(a.Answers, &fsmpb.Answer{Revision: at.Revision, Results: []*fsmpb.Result{{Version: k.Version + 1}}})
		}
		time.AfterFunc(30*time.Millisecond, func() { n.committer.commit(context.Background(), e) })
		return &clusterpb.Response{Answer: a}, nil
	}
	res, err := n.committer.commit(ctx, e)
`,
		}},
		Faults: "kill-leader", Workloads: "adds", By: "adds", Always: true,
	},
	{
		Name: "dropped event", About: "a stream resumes one change too late",
		Edits:  []Edit{{"httpapi/streams.go", "return stream.Start{After: id}, err", "return stream.Start{After: id + 1}, err"}},
		Faults: "transfer", Workloads: "stream", By: "streams", Always: true,
	},
	{
		Name: "doubled event", About: "a stream resumes one change too early",
		Edits:     []Edit{{"httpapi/streams.go", "return stream.Start{After: id}, err", "return stream.Start{After: max(id, 1) - 1}, err"}},
		Workloads: "stream", By: "streams",
	},
	{
		Name: "doubled write", About: "a request sent again with its idempotency key has a second effect",
		Edits:     []Edit{{"fsm/idempotency.go", "if old, ok := r.byKey.Get(rec); ok {", "if old, ok := r.byKey.Get(rec); ok && r.units < 0 {"}},
		Workloads: "once", By: "exactly once", Always: true,
	},
	{
		Name: "doubled batch", About: "a batch that a node hands to a leader again has a second effect",
		Edits:  []Edit{{"fsm/session.go", "if a, ok := s.answers[b.Sequence]; ok {", "if a, ok := s.answers[b.Sequence]; ok && s.low > b.Sequence {"}},
		Faults: "reset", Workloads: "stream,counter", By: "streams",
	},
	{
		Name: "lost update", About: "a condition on a version also holds for a later one",
		Edits:     []Edit{{"fsm/command.go", "return version == op.ExpectedVersion", "return version >= op.ExpectedVersion"}},
		Workloads: "counter", By: "counter", Always: true,
	},
	{
		Name: "version reset", About: "a key made anew begins at version 1",
		Edits:     []Edit{{"fsm/command.go", "d.intern(ns), d.floorOf(ns)+1, d.clock", "d.intern(ns), 1, d.clock"}},
		Workloads: "register", By: "versions", Always: true,
	},
	{
		Name: "early expiry", About: "a TTL is cut by a tenth",
		Edits:  []Edit{{"fsm/command.go", "k.deadline = d.clock + op.Ttl", "k.deadline = d.clock + op.Ttl*9/10"}},
		Faults: "transfer", Workloads: "ttl", By: "ttl", Always: true,
	},
	{
		Name: "blind expiry", About: "the deadline of a version that was replaced ends its successor",
		Edits: []Edit{{
			"fsm/contents.go",
			"	c.forget(old)\n	c.keys.Set(k)\n",
			"	c.forget(old)\n	if old != nil && old.deadline != 0 {\n		c.due.Set(old)\n	}\n	c.keys.Set(k)\n",
		}},
		Workloads: "ttl", By: "ttl",
	},
	{
		Name: "lasting TTL", About: "a set without a TTL keeps that of what it replaces",
		Edits: []Edit{{
			"fsm/command.go",
			"		k.ns, k.name, k.version, k.created = old.ns, old.name, old.version+1, old.created\n",
			"		k.ns, k.name, k.version, k.created = old.ns, old.name, old.version+1, old.created\n		if op.Ttl == 0 {\n			k.deadline = old.deadline\n		}\n",
		}},
		Workloads: "stream", By: "streams", Always: true,
	},
	{
		Name: "silent node", About: "streams that are opened at one node, once it has run for 3 s, tell nothing",
		Edits: []Edit{
			{"httpapi/streams.go", "import (\n", "import (\n	\"os\"\n	\"slices\"\n"},
			{"httpapi/streams.go", "// stream answers with", "var begun = time.Now()\n\n// stream answers with"},
			{"httpapi/streams.go", "	from.While = r.lease()\n", "	from.While = r.lease()\n	if slices.Contains(os.Args, \"n3\") && time.Since(begun) > 3*time.Second {\n		from.After += 1 << 40\n	}\n"},
		},
		Workloads: "pages", By: "pages",
	},
	{
		Name: "forgotten conflict", About: "a conflict is not kept with its idempotency key",
		Edits: []Edit{{
			"fsm/idempotency.go", "	rec.answer = encodeAnswer(a)\n",
			"	if a.Code == fsmpb.Answer_CONFLICT {\n		return a\n	}\n	rec.answer = encodeAnswer(a)\n",
		}},
		Workloads: "once", By: "exactly once",
	},
	{
		Name: "doubled delete", About: "a delete sent again with its idempotency key has a second effect",
		Edits: []Edit{{
			"fsm/idempotency.go", "if old, ok := r.byKey.Get(rec); ok {",
			"if old, ok := r.byKey.Get(rec); ok && c.Ops[0].Kind == fsmpb.Op_DELETE {\n		run()\n		return old.answerTo(rec.request, at)\n	} else if ok {",
		}},
		Workloads: "once", By: "exactly once",
	},
	{
		Name: "forgotten token", About: "a stale read does not wait for the revision that it is given",
		Edits:     []Edit{{"httpapi/read.go", "	case stale:\n		return s.cluster.WaitRevision(ctx, atLeast)", "	case stale:\n		return nil"}},
		Workloads: "session", By: "sessions",
	},
	{
		Name: "clock in the state machine", About: "each node takes the time of a change from its own clock",
		Edits: []Edit{
			{"fsm/command.go", "import (\n", "import (\n	\"time\"\n"},
			{"fsm/command.go", "updated:   d.clock,", "updated:   time.Now().UnixMicro(),"},
		},
		Workloads: "adds", By: "hashes", Always: true,
	},
	{
		Name: "order of a map", About: "each node runs the commands of a batch in the order of a map",
		Edits: []Edit{{
			"fsm/session.go",
			"	for i, c := range b.Commands {\n",
			"	byPlace := map[int]*fsmpb.Command{}\n	for i, c := range b.Commands {\n		byPlace[i] = c\n	}\n	for i, c := range byPlace {\n",
		}},
		Workloads: "stream", By: "hashes",
	},
	{
		Name: "snapshot without records", About: "a snapshot lacks the answers to idempotency keys",
		Edits: []Edit{
			smallSnapshots,
			{"fsm/image.go", "for i := range im.records.len() {", "for i := range min(im.records.len(), 0) {"},
		},
		Faults: "kill,kill-all", Workloads: "once", By: "hashes", Always: true,
	},
	{
		Name: "stale floor", About: "a floor comes out of a snapshot lower than it went in",
		Edits: []Edit{
			smallSnapshots,
			{"fsm/image.go", "b.setFloor(&floor{ns: fl.Namespace, version: fl.Floor,", "b.setFloor(&floor{ns: fl.Namespace, version: fl.Floor - 1,"},
		},
		Faults: "kill,kill-all", Workloads: "register", By: "hashes",
	},
	{
		Name: "panic", About: "a list panics now and then",
		Edits: []Edit{{
			"httpapi/list.go",
			"	setRevision(w, page.Point.Revision)\n",
			"	setRevision(w, page.Point.Revision)\n	if page.Point.Revision%10 == 0 {\n		panic(\"planted\")\n	}\n",
		}},
		Workloads: "pages", By: "answers",
	},
	{
		Name: "undeserved refusal", About: "a delete of Agent State is refused as a bad request",
		Edits: []Edit{{
			"httpapi/agent.go",
			"	if _, err := s.remove(",
			"	if key != \"\" {\n		return refuse(codeInvalidRequest, \"planted\")\n	}\n	if _, err := s.remove(",
		}},
		Workloads: "agent", By: "answers",
	},
	{
		Name: "lists without a revision", About: "a list does not say of which revision it is",
		Edits:     []Edit{{"httpapi/list.go", "	setRevision(w, page.Point.Revision)\n", ""}},
		Workloads: "pages", By: "revisions",
	},
}
