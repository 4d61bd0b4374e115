package archtest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// arrows says which packages of ours a package may import: anywhere, and
// beyond that in its tests. A package's external tests may import it.
type arrows struct{ code, tests []string }

// mayImport has a row for each package of ours. To add an arrow, add it here
// and to the picture in docs/ARCHITECTURE.md.
var mayImport = map[string]arrows{
	"snapshot":                      {},
	"fsm/fsmpb":                     {},
	"fsm":                           {code: []string{"fsm/fsmpb", "snapshot"}},
	"cluster/clusterpb":             {code: []string{"fsm/fsmpb"}},
	"cluster/logstore":              {tests: []string{"internal/leaktest"}},
	"cluster":                       {code: []string{"cluster/clusterpb", "cluster/logstore", "fsm", "fsm/fsmpb", "snapshot"}, tests: []string{"cluster/clustertest", "internal/leaktest", "internal/parallel"}},
	"cluster/clustertest":           {code: []string{"cluster", "fsm", "fsm/fsmpb"}},
	"httpapi/auth":                  {code: []string{"httpapi/internal/names"}},
	"httpapi/internal/jsonscan":     {},
	"httpapi/internal/names":        {},
	"httpapi/inject":                {code: []string{"httpapi/internal/jsonscan", "httpapi/internal/names"}, tests: []string{"httpapi/inject/injecttest"}},
	"httpapi/inject/injecttest":     {},
	"httpapi/proxy":                 {code: []string{"httpapi/inject", "httpapi/internal/jsonscan"}, tests: []string{"httpapi/inject/injecttest", "internal/leaktest"}},
	"httpapi/stream":                {code: []string{"fsm"}, tests: []string{"fsm/fsmpb", "internal/leaktest"}},
	"httpapi":                       {code: []string{"cluster", "fsm", "fsm/fsmpb", "httpapi/auth", "httpapi/inject", "httpapi/internal/jsonscan", "httpapi/internal/names", "httpapi/proxy", "httpapi/stream"}, tests: []string{"client", "cluster/clustertest", "internal/contract", "internal/leaktest"}},
	"client":                        {tests: []string{"internal/contract", "internal/leaktest"}},
	"cmd/stateraft":                 {code: []string{"client", "cluster", "fsm", "httpapi", "httpapi/auth", "httpapi/inject", "httpapi/proxy", "snapshot"}, tests: []string{"internal/parallel"}},
	"cmd/torture":                   {code: []string{"cmd/torture/internal/check", "cmd/torture/internal/faults", "cmd/torture/internal/history", "cmd/torture/internal/matrix", "cmd/torture/internal/node", "cmd/torture/internal/report", "cmd/torture/internal/wire", "cmd/torture/internal/workload"}, tests: []string{"cmd/torture/internal/planted", "internal/parallel"}},
	"cmd/torture/internal/check":    {code: []string{"cmd/torture/internal/history"}},
	"cmd/torture/internal/faultfs":  {},
	"cmd/torture/internal/faults":   {code: []string{"cmd/torture/internal/faultfs", "cmd/torture/internal/node"}},
	"cmd/torture/internal/history":  {},
	"cmd/torture/internal/matrix":   {code: []string{"cmd/torture/internal/faults", "cmd/torture/internal/report"}},
	"cmd/torture/internal/node":     {code: []string{"client", "cmd/torture/internal/faultfs"}},
	"cmd/torture/internal/planted":  {},
	"cmd/torture/internal/report":   {code: []string{"cmd/torture/internal/check", "cmd/torture/internal/history"}},
	"cmd/torture/internal/wire":     {code: []string{"client", "cmd/torture/internal/history"}},
	"cmd/torture/internal/workload": {code: []string{"client", "cmd/torture/internal/history", "cmd/torture/internal/wire"}, tests: []string{"cmd/torture/internal/check"}},
	"internal/archtest":             {},
	"internal/contract":             {},
	"internal/leaktest":             {},
	"internal/parallel":             {},
}

// onlyIn says which packages of ours may import a package of others, or one
// below it, so that what it brings stays behind one door.
var onlyIn = map[string][]string{
	"github.com/hashicorp/raft":           {"cluster", "cluster/logstore"},
	"github.com/hashicorp/raft-boltdb":    {"cluster/logstore"},
	"github.com/hashicorp/go-msgpack":     {"cluster/logstore"}, // the form of raft-boltdb's records
	"github.com/hashicorp/memberlist":     {"cluster"},
	"go.etcd.io/bbolt":                    {"cluster/logstore", "cmd/torture/internal/faultfs", "cmd/torture/internal/faults"}, // the latter in a test
	"github.com/hanwen/go-fuse":           {"cmd/torture/internal/faultfs"},
	"github.com/tidwall/btree":            {"fsm"},
	"github.com/julienschmidt/httprouter": {"httpapi"},
	"github.com/spf13":                    {"cmd/stateraft"},
	"net/http":                            {"client", "cmd/stateraft", "cmd/torture/internal/node", "cmd/torture/internal/wire", "cmd/torture/internal/workload", "httpapi", "httpapi/proxy"},
	"github.com/prometheus/client_golang": {"cluster", "cluster/clustertest", "cmd/stateraft", "httpapi", "httpapi/proxy"},
	"github.com/rogpeppe/go-internal":     {"cmd/stateraft"},
	"github.com/anishathalye/porcupine":   {"cluster", "cmd/torture/internal/check"},
	"github.com/stretchr/testify":         {},
}

func TestImports(t *testing.T) {
	unseen := maps.Clone(mayImport)
	for _, p := range ours(t) {
		row, known := mayImport[p.path()]
		if !known {
			t.Errorf("%s is in no row of mayImport: add it there and to the picture in docs/ARCHITECTURE.md", p.path())
			continue
		}
		delete(unseen, p.path())
		tests := slices.Concat(row.code, row.tests, []string{p.path()})
		checkImports(t, p.path(), p.Imports, row.code)
		checkImports(t, "a test of "+p.path(), p.TestImports, tests)
		checkImports(t, "a test of "+p.path(), p.XTestImports, tests)
		checkDoors(t, p.path(), slices.Concat(p.Imports, p.TestImports, p.XTestImports))
	}
	for _, path := range slices.Sorted(maps.Keys(unseen)) {
		t.Errorf("mayImport has a row for %s, which is no package: remove the row", path)
	}
}

// checkImports reports each import of ours that is not among the allowed.
func checkImports(t *testing.T, who string, imports, allowed []string) {
	t.Helper()
	for _, path := range imports {
		path, isOurs := strings.CutPrefix(path, module+"/")
		if isOurs && !slices.Contains(allowed, path) {
			t.Errorf("%s imports %s: there is no such arrow in mayImport", who, path)
		}
	}
}

// checkDoors reports each import that onlyIn gives to other packages.
func checkDoors(t *testing.T, who string, imports []string) {
	t.Helper()
	for door, keepers := range onlyIn {
		for _, path := range imports {
			if within(path, door) && !slices.Contains(keepers, who) {
				t.Errorf("%s imports %s: only %q may", who, path, keepers)
			}
		}
	}
}

// within reports whether path is the package root or below it, as its further
// major versions are.
func within(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '/')
}
