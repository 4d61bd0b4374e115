package archtest

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pureImports are the packages that the state machine may use: none of them
// gives access to a clock, randomness, the network or a file by itself, apart
// from the parts that notPure and timeFuncs keep out.
var pureImports = []string{
	"bytes",
	"cmp",
	"container/heap",
	"encoding/binary",
	"errors",
	"fmt",
	"io",
	"iter",
	"maps",
	"math",
	"math/bits",
	"slices",
	"strconv",
	"strings",
	"sync",
	"sync/atomic",
	"time",
	"unicode/utf8",
	"github.com/cespare/xxhash/v2",
	"github.com/tidwall/btree",
	"google.golang.org/protobuf/encoding/protowire",
	"google.golang.org/protobuf/proto",
	"google.golang.org/protobuf/reflect/protoreflect",
	module + "/fsm/fsmpb",
	module + "/snapshot",
}

// timeFuncs are the functions of package time that neither look at a clock nor
// wait for one.
var timeFuncs = []string{"Unix", "UnixMicro", "UnixMilli"}

// notPure are the parts of pureImports that depend on more than their
// arguments, and why.
var notPure = map[string]string{
	"fmt.Print":       "writes to standard output",
	"fmt.Printf":      "writes to standard output",
	"fmt.Println":     "writes to standard output",
	"fmt.Scan":        "reads standard input",
	"fmt.Scanf":       "reads standard input",
	"fmt.Scanln":      "reads standard input",
	"sync.Map":        "has no order",
	"time.Local":      "differs from host to host",
	"time.Ticker":     "is a clock",
	"time.Timer":      "is a clock",
	"time.Time.Local": "differs from host to host",
}

// TestStateMachineIsPure finds what could let two nodes draw different states
// from one log. A map may be ranged over where the order cannot reach a result:
// the line says so with "//ordered: <why>".
func TestStateMachineIsPure(t *testing.T) {
	var p listed
	for _, candidate := range ours(t) {
		if candidate.path() == "fsm" {
			p = candidate
		}
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		files = append(files, parse(t, fset, filepath.Join(p.Dir, name), nil))
	}
	if len(files) == 0 {
		t.Fatal("fsm has no files")
	}
	for _, complaint := range complaints(fset, files, check(t, fset, files)) {
		t.Error(complaint)
	}
}

// TestPurityRules holds the rules themselves: each line marked "// want" must
// be complained of, with the words that follow, and no other line.
func TestPurityRules(t *testing.T) {
	fset := token.NewFileSet()
	files := []*ast.File{parse(t, fset, "testdata/impure.go.txt", nil)}
	got := complaints(fset, files, check(t, fset, files))

	var want []string
	for _, group := range files[0].Comments {
		if text, ok := strings.CutPrefix(strings.TrimSpace(group.Text()), "want "); ok {
			want = append(want, fmt.Sprintf("impure.go.txt:%d: %s", fset.Position(group.Pos()).Line, text))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func parse(t *testing.T, fset *token.FileSet, path string, src any) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// check type-checks one package. What it imports comes from the export data
// that the go command has in its cache.
func check(t *testing.T, fset *token.FileSet, files []*ast.File) *types.Info {
	t.Helper()
	var imports []string
	for _, f := range files {
		for _, spec := range f.Imports {
			imports = append(imports, importPath(spec))
		}
	}
	exports := map[string]string{}
	for _, p := range goList(t, append([]string{"-deps", "-export"}, imports...)...) {
		exports[p.ImportPath] = p.Export
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	if _, err := config.Check("checked", fset, files, info); err != nil {
		t.Fatal(err)
	}
	return info
}

func importPath(spec *ast.ImportSpec) string {
	path, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
	return path
}

// complaints returns what makes the files impure, in order of place.
func complaints(fset *token.FileSet, files []*ast.File, info *types.Info) []string {
	var all []string
	for _, f := range files {
		r := rules{fset: fset, info: info, excused: excused(fset, f), sorted: map[ast.Expr]bool{}, found: map[token.Position]string{}}
		ast.Inspect(f, r.visit)
		for _, at := range slices.SortedFunc(maps.Keys(r.found), func(a, b token.Position) int { return a.Offset - b.Offset }) {
			all = append(all, fmt.Sprintf("%s:%d: %s", filepath.Base(at.Filename), at.Line, r.found[at]))
		}
	}
	return all
}

// excused returns the lines that carry "//ordered: <why>".
func excused(fset *token.FileSet, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if why, ok := strings.CutPrefix(c.Text, "//ordered:"); ok && strings.TrimSpace(why) != "" {
				lines[fset.Position(c.Pos()).Line] = true
			}
		}
	}
	return lines
}

// rules looks at the nodes of one file.
type rules struct {
	fset    *token.FileSet
	info    *types.Info
	excused map[int]bool
	sorted  map[ast.Expr]bool // calls whose result goes straight into a sort
	found   map[token.Position]string
}

func (r *rules) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		if path := importPath(n); !slices.Contains(pureImports, path) {
			r.complain(n, "imports "+path+", which is not among the pure ones")
		}
	case *ast.GoStmt:
		r.complain(n, "starts a goroutine")
	case *ast.SelectStmt:
		r.complain(n, "selects, which picks at random")
	case *ast.RangeStmt:
		if _, isMap := r.info.TypeOf(n.X).Underlying().(*types.Map); isMap {
			r.unordered(n, "ranges over a map")
		}
	case *ast.CallExpr:
		r.call(n)
	case *ast.Ident:
		r.name(n)
	}
	return true
}

// call refuses the iterators of package maps that are not sorted at once.
func (r *rules) call(n *ast.CallExpr) {
	name := r.calls(n)
	switch {
	case strings.HasPrefix(name, "slices.Sorted"):
		r.sorted[n.Args[0]] = true
	case name == "maps.Keys" || name == "maps.Values" || name == "maps.All":
		if !r.sorted[n] {
			r.unordered(n, "takes "+name+" and does not sort it")
		}
	}
}

// calls returns the qualified name of the function called, if it has one.
func (r *rules) calls(n *ast.CallExpr) string {
	sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	return qualified(r.info.Uses[sel.Sel])
}

// name refuses what notPure lists and the functions of time not in timeFuncs.
func (r *rules) name(n *ast.Ident) {
	object := r.info.Uses[n]
	name := qualified(object)
	if why := notPure[name]; why != "" {
		r.complain(n, name+" "+why)
		return
	}
	fn, isFunc := object.(*types.Func)
	if isFunc && fn.Signature().Recv() == nil && fn.Pkg() != nil && fn.Pkg().Path() == "time" && !slices.Contains(timeFuncs, fn.Name()) {
		r.complain(n, name+" is not among the functions of time without a clock")
	}
}

// qualified returns package.Name or package.Type.Method of an imported object.
func qualified(object types.Object) string {
	if object == nil || object.Pkg() == nil {
		return ""
	}
	name := object.Pkg().Path() + "."
	if fn, ok := object.(*types.Func); ok && fn.Signature().Recv() != nil {
		receiver := fn.Signature().Recv().Type()
		if pointer, ok := receiver.(*types.Pointer); ok {
			receiver = pointer.Elem()
		}
		if named, ok := receiver.(*types.Named); ok {
			name += named.Obj().Name() + "."
		}
	}
	return name + object.Name()
}

// unordered complains unless the line is excused.
func (r *rules) unordered(n ast.Node, what string) {
	if !r.excused[r.fset.Position(n.Pos()).Line] {
		r.complain(n, what)
	}
}

func (r *rules) complain(n ast.Node, what string) {
	r.found[r.fset.Position(n.Pos())] = what
}
