package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package says once what it is for. Generated files need not: a package
// of nothing else is described where it is generated from.
func TestPackageComments(t *testing.T) {
	for _, p := range ours(t) {
		handWritten, comments := 0, []string{}
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if ast.IsGenerated(f) {
				continue
			}
			handWritten++
			if f.Doc != nil {
				comments = append(comments, name)
				checkOpening(t, p, f.Doc.Text())
			}
		}
		if handWritten > 0 && len(comments) != 1 {
			t.Errorf("%s has %d package comments %q, want exactly one", p.path(), len(comments), comments)
		}
	}
}

func checkOpening(t *testing.T, p listed, comment string) {
	t.Helper()
	if p.Name != "main" && !strings.HasPrefix(comment, "Package "+p.Name+" ") {
		t.Errorf("the comment of %s does not begin with %q", p.path(), "Package "+p.Name)
	}
}
