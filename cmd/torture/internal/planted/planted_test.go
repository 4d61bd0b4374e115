package planted_test

import (
	"go/parser"
	"go/token"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/planted"
)

const root = "../../../.."

// Ensure every bug can still be planted: its texts are in the source once.
func TestBugsFitTheSource(t *testing.T) {
	for _, b := range planted.Bugs {
		files, err := b.Edited(root)
		if err != nil {
			t.Error(err)
		}
		for path, text := range files {
			if _, err := parser.ParseFile(token.NewFileSet(), path, text, 0); err != nil {
				t.Errorf("%s: %v", b.Name, err)
			}
		}
	}
}

// Ensure a text that is gone, or there twice, is an error.
func TestEditThatDoesNotFit(t *testing.T) {
	for _, old := range []string{"no such text", "package"} {
		b := planted.Bug{Name: "b", Edits: []planted.Edit{{File: "fsm/doc.go", Old: old}}}
		if _, err := b.Edited(root); err == nil {
			t.Errorf("%q fits", old)
		}
	}
}
