package faultfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// mostNames bounds how many changes of names are kept to be undone.
const mostNames = 4096

// journal is the changes of names that are not durable, oldest first.
type journal struct {
	lost    string // directory for what was removed
	number  int    // of the last file there
	changes []nameChange
}

// nameChange is one of the names in some directories.
type nameChange struct {
	dirs []uint64 // inodes
	undo func() error
	lost string // what was removed; it goes for good when the change is durable
}

func (j *journal) add(c nameChange) {
	j.changes = append(j.changes, c)
	if len(j.changes) > mostNames {
		j.settle(1)
	}
}

// settle makes the oldest n changes durable.
func (j *journal) settle(n int) {
	for _, c := range j.changes[:n] {
		if c.lost != "" {
			os.RemoveAll(c.lost)
		}
	}
	j.changes = slices.Delete(j.changes, 0, n)
}

// sync makes durable what has changed in a directory, and all before that.
func (j *journal) sync(dir uint64) {
	for i, c := range slices.Backward(j.changes) {
		if slices.Contains(c.dirs, dir) {
			j.settle(i + 1)
			return
		}
	}
}

// undo takes back all but the oldest n changes.
func (j *journal) undo(n int) error {
	for _, c := range slices.Backward(j.changes[n:]) {
		if err := c.undo(); err != nil {
			return err
		}
	}
	j.changes = j.changes[:n]
	j.settle(n)
	return nil
}

// made notes that path was made.
func (j *journal) made(path string) error {
	dir, err := inodeOf(filepath.Dir(path))
	if err != nil {
		return err
	}
	j.add(nameChange{dirs: []uint64{dir}, undo: func() error { return os.RemoveAll(path) }})
	return nil
}

// remove removes path, which is a file or an empty directory.
func (j *journal) remove(path string) error {
	dir, err := inodeOf(filepath.Dir(path))
	if err != nil {
		return err
	}
	j.number++
	lost := filepath.Join(j.lost, fmt.Sprint(j.number))
	if err := os.Rename(path, lost); err != nil {
		return err
	}
	j.add(nameChange{dirs: []uint64{dir}, undo: func() error { return os.Rename(lost, path) }, lost: lost})
	return nil
}

// rename renames, over what is at the new path.
func (j *journal) rename(from, to string) error {
	old, err := inodeOf(filepath.Dir(from))
	if err != nil {
		return err
	}
	dir, err := inodeOf(filepath.Dir(to))
	if err != nil {
		return err
	}
	replaced := nameChange{undo: func() error { return nil }}
	if _, err := os.Lstat(to); err == nil {
		if err := j.remove(to); err != nil {
			return err
		}
		// One change, so that neither is durable without the other.
		replaced = j.changes[len(j.changes)-1]
		j.changes = j.changes[:len(j.changes)-1]
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	j.add(nameChange{dirs: []uint64{old, dir}, lost: replaced.lost, undo: func() error {
		if err := os.Rename(to, from); err != nil {
			return err
		}
		return replaced.undo()
	}})
	return nil
}

func inodeOf(path string) (uint64, error) {
	var st syscall.Stat_t
	err := syscall.Lstat(path, &st)
	return st.Ino, err
}
