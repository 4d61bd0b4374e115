package planted

// tenantBugs are those of several keys at once, lists, Agent State, API keys and
// backups.
var tenantBugs = []Bug{
	{
		Name: "deaf condition", About: "a condition that a key exists always holds",
		Edits:     []Edit{{"fsm/command.go", "return version != 0", "return true"}},
		Workloads: "register", By: "linearizable",
	},
	{
		Name: "half a write", About: "an atomic write that is refused leaves what stands before the failing condition",
		Edits: []Edit{{
			"fsm/command.go",
			"			a := d.point()\n			a.Code,",
			"			for j := range i {\n				d.do(c.Namespace, c.Ops[j], olds[j], span{}, new(fsmpb.Result))\n			}\n			a := d.point()\n			a.Code,",
		}},
		Workloads: "atomic", By: "atomic writes", Always: true,
	},
	{
		Name: "open end", About: "the events of an atomic write tell its last revision one too low",
		Edits:     []Edit{{"fsm/command.go", "return span{d.revision + 1, d.revision + n}", "return span{d.revision + 1, d.revision + max(n, 2) - 1}"}},
		Workloads: "atomic", By: "atomic writes",
	},
	{
		Name: "page overlap", About: "a page begins with the last key of the one before",
		Edits:     []Edit{{"fsm/list.go", "if q.After != \"\" && k.name == q.After {", "if q.After != \"\" && k.name == q.After && q.Limit < 0 {"}},
		Workloads: "pages", By: "pages",
	},
	{
		Name: "blunt token", About: "a check in an atomic write always holds",
		Edits:     []Edit{{"fsm/command.go", "	switch op.Condition {\n	case fsmpb.Op_AT_VERSION:", "	if op.Kind == fsmpb.Op_CHECK {\n		return true\n	}\n	switch op.Condition {\n	case fsmpb.Op_AT_VERSION:"}},
		Workloads: "lock", By: "fencing",
	},
	{
		Name: "short list", About: "a subject's list lacks its first key",
		Edits:     []Edit{{"httpapi/agent_list.go", "b = writeEach(w, b, page.Entries, appendAgentEntry)", "b = writeEach(w, b, page.Entries[min(len(page.Entries), 1):], appendAgentEntry)"}},
		Workloads: "agent", By: "agent lists",
	},
	{
		Name: "one project", About: "workflows of all projects are the same",
		Edits:     []Edit{{"httpapi/names.go", "return namespaceOf(workflows, r.principal.Project, workflow), nil", "return namespaceOf(workflows, \"all\", workflow), nil"}},
		Workloads: "isolation", By: "isolation", Always: true,
	},
	{
		Name: "loose prefix", About: "a key with a prefix may reach every workflow",
		Edits:     []Edit{{"httpapi/auth.go", "	if r.principal.May(name) {", "	if r.principal.May(name) || name != \"\" {"}},
		Workloads: "isolation", By: "isolation",
	},
	{
		Name: "lasting stream", About: "a stream does not end with its API key",
		Edits:     []Edit{{"httpapi/auth.go", "	if !r.principal.HasKey() {\n		return stream.Lease{}", "	if r.principal.HasKey() {\n		return stream.Lease{}"}},
		Workloads: "isolation", By: "isolation",
	},
	{
		Name: "lasting key", About: "a node remembers the API keys that it has seen",
		Edits: []Edit{
			{"httpapi/auth.go", "// lookupKey finds", "var seenKeys sync.Map\n\n// lookupKey finds"},
			{"httpapi/auth.go", "	\"slices\"\n", "	\"slices\"\n	\"sync\"\n"},
			{"httpapi/auth.go", "	if _, ok, _ := state.Get(auth.Namespace, r.principal.ID); !ok {", "	if r.principal.ID == \"\" {"},
			{"httpapi/auth.go", "	if e, ok, _ := s.cluster.State().Get(auth.Namespace, id); ok {\n", "	if v, ok := seenKeys.Load(id); ok {\n		return v.([]byte), nil\n	}\n	if e, ok, _ := s.cluster.State().Get(auth.Namespace, id); ok {\n		seenKeys.Store(id, e.Value)\n"},
		},
		Workloads: "isolation", By: "isolation",
	},
	{
		Name: "backup without floors", About: "a restored cluster forgets the versions of what was deleted",
		Edits:     []Edit{{"cluster/restore.go", "Step: fsmpb.Restore_ADD, Keys: keys, Floors: floors}", "Step: fsmpb.Restore_ADD, Keys: keys, Floors: floors[:0]}"}},
		Workloads: "backup", By: "backup",
	},
	{
		Name: "history off by some", About: "a stream whose next changes were just forgotten, up to 100, is not told of them",
		Edits: []Edit{{
			"fsm/history.go", "	if after < h.base {\n		return nil, false\n	}\n",
			"	if after+100 < h.base {\n		return nil, false\n	}\n	after = max(after, h.base)\n",
		}},
		Faults: "compact", Workloads: "stream", By: "streams",
	},
}
