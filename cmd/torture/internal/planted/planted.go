// Package planted builds servers that have a bug, one each, to prove that the
// tester finds it.
package planted

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Bug is a way to break the server.
type Bug struct {
	Name      string
	About     string
	Edits     []Edit
	Faults    string // that bring it out; empty: all
	Workloads string // that meet it; empty: all
	By        string // a check that must find it, among others
	Always    bool   // it is planted in every run of the tests, not only in full ones
}

// Edit replaces a text, which must be in a file exactly once.
type Edit struct{ File, Old, New string }

// Edited returns the content of each file that the bug changes, by its path in
// the module at root.
func (b Bug) Edited(root string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range b.Edits {
		text, again := files[e.File]
		if !again {
			read, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
			text = string(read)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("%s: %s has %d times, and not once, the text %q", b.Name, e.File, n, e.Old)
		}
		files[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return files, nil
}

// Build builds the server of the module at root with the bug, as dir/stateraft.
// The directory, an absolute path, also gets the files that were changed.
func (b Bug) Build(root, dir string) (binary string, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", err
	}
	files, err := b.Edited(root)
	if err != nil {
		return "", err
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for path, text := range files {
		changed := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(changed, []byte(text), 0o644); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(path))] = changed
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o644); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "stateraft")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-overlay", list, "-o", binary, "./cmd/stateraft")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", b.Name, err, out)
	}
	return binary, nil
}
