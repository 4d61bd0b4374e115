// Package archtest holds the architecture as tests: which package may import
// which, what keeps the state machine deterministic, and that every package
// says what it is for. It has no other code.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/stateraft/stateraft"

// listed is what the tests need of one package from go list.
type listed struct {
	ImportPath, Name, Dir, Export string

	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
}

// path is the package's path inside the module.
func (p listed) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Name,Dir,Export,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// ours lists the packages of this module.
func ours(t *testing.T) []listed {
	t.Helper()
	packages := goList(t, module+"/...")
	if len(packages) == 0 {
		t.Fatalf("go list found no package of %s", module)
	}
	// The go command caches a test's result by the files that the test itself
	// looked at. The folders are looked at so that a new file counts.
	for _, p := range packages {
		os.Stat(p.Dir)
		os.Stat(filepath.Dir(p.Dir))
	}
	return packages
}
