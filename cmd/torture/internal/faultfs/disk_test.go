package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Tests use the mount from the process that serves it, which nobody else should:
// that is safe for system calls, which Go's runtime does not wait for. Maps are
// for children.

// mount returns an empty disk and its mount point.
func mount(t *testing.T) (*Disk, string) {
	t.Helper()
	if err := Possible(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	point := filepath.Join(dir, "mnt")
	d, err := Mount(filepath.Join(dir, "disk"), point)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, point
}

func rng() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// write writes at an offset of a file, which it makes if there is none, and syncs it if
// asked to.
func write(t *testing.T, path string, off int64, b []byte, sync bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = f.WriteAt(b, off)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func syncDir(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, f.Sync(), f.Close())
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

// pattern is n sectors of one letter.
func pattern(letter byte, sectors int) []byte { return bytes.Repeat([]byte{letter}, sectors*Sector) }

// letters shows content, a letter a sector.
func letters(b []byte) string {
	s := ""
	for i := 0; i < len(b); i += Sector {
		c := b[i]
		if c == 0 {
			c = '.'
		}
		s += string(c)
	}
	return s
}

// Ensure a crash that loses all leaves what was synced, and nothing else.
func TestCrashLosesWhatWasNotSynced(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, path string) // to a durable file of "aaaa"
		want string
	}{
		{"an overwrite", func(t *testing.T, p string) { write(t, p, Sector, pattern('b', 2), false) }, "aaaa"},
		{"a synced overwrite", func(t *testing.T, p string) { write(t, p, Sector, pattern('b', 2), true) }, "abba"},
		{"an overwrite after a sync", func(t *testing.T, p string) {
			write(t, p, Sector, pattern('b', 2), true)
			write(t, p, 0, pattern('c', 2), false)
			write(t, p, 0, pattern('d', 4), false)
		}, "abba"},
		{"an append", func(t *testing.T, p string) { write(t, p, 4*Sector, pattern('b', 2), false) }, "aaaa"},
		{"a synced append", func(t *testing.T, p string) { write(t, p, 4*Sector, pattern('b', 2), true) }, "aaaabb"},
		{"part of a sector", func(t *testing.T, p string) { write(t, p, Sector+7, []byte("b"), false) }, "aaaa"},
		{"a cut", func(t *testing.T, p string) { must(t, os.Truncate(p, Sector+9)) }, "aaaa"},
		{"a cut, and an append", func(t *testing.T, p string) {
			must(t, os.Truncate(p, Sector))
			write(t, p, Sector, pattern('b', 9), false)
		}, "aaaa"},
		{"an extension", func(t *testing.T, p string) { must(t, os.Truncate(p, 8*Sector)) }, "aaaa"},
		{"a synced cut", func(t *testing.T, p string) {
			must(t, os.Truncate(p, Sector))
			write(t, p, 0, nil, true)
		}, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, point := mount(t)
			path := filepath.Join(point, "file")
			write(t, path, 0, pattern('a', 4), true)
			syncDir(t, point)
			tt.do(t, path)
			_, _, err := d.Crash(All, rng())
			must(t, err)
			if got := letters(read(t, path)); got != tt.want {
				t.Errorf("%s is left, want %s", got, tt.want)
			}
			if len(d.contents) != 0 {
				t.Errorf("%d files are still to be undone", len(d.contents))
			}
		})
	}
}

// Ensure names last once their directory was synced.
func TestCrashLosesNames(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string) // with durable files "a" and "b" of "a" and "b"
		want map[string]string
	}{
		{"a file made", func(t *testing.T, dir string) { write(t, dir+"/c", 0, pattern('c', 1), true) }, map[string]string{"a": "a", "b": "b"}},
		{"a file made, synced", func(t *testing.T, dir string) {
			write(t, dir+"/c", 0, pattern('c', 1), true)
			syncDir(t, dir)
		}, map[string]string{"a": "a", "b": "b", "c": "c"}},
		{"a file made, its name synced alone", func(t *testing.T, dir string) {
			write(t, dir+"/c", 0, pattern('c', 1), false)
			syncDir(t, dir)
		}, map[string]string{"a": "a", "b": "b", "c": ""}},
		{"a rename over a file", func(t *testing.T, dir string) { must(t, os.Rename(dir+"/a", dir+"/b")) }, map[string]string{"a": "a", "b": "b"}},
		{"a rename over a file, synced", func(t *testing.T, dir string) {
			must(t, os.Rename(dir+"/a", dir+"/b"))
			syncDir(t, dir)
		}, map[string]string{"b": "a"}},
		{"a removal", func(t *testing.T, dir string) { must(t, os.Remove(dir+"/a")) }, map[string]string{"a": "a", "b": "b"}},
		{"a removal, synced", func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/a"))
			syncDir(t, dir)
		}, map[string]string{"b": "b"}},
		{"a directory made, filled and renamed", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"/t", 0o700))
			write(t, dir+"/t/c", 0, pattern('c', 1), true)
			must(t, os.Rename(dir+"/t", dir+"/d"))
		}, map[string]string{"a": "a", "b": "b"}},
		{"a directory made, filled and renamed, synced", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"/t", 0o700))
			write(t, dir+"/t/c", 0, pattern('c', 1), true)
			must(t, os.Rename(dir+"/t", dir+"/d"))
			syncDir(t, dir)
		}, map[string]string{"a": "a", "b": "b", "d/c": "c"}},
		{"a tree removed", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"/d", 0o700))
			write(t, dir+"/d/c", 0, pattern('c', 1), true)
			syncDir(t, dir+"/d")
			must(t, os.RemoveAll(dir+"/d"))
		}, map[string]string{"a": "a", "b": "b", "d/c": "c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, point := mount(t)
			write(t, point+"/a", 0, pattern('a', 1), true)
			write(t, point+"/b", 0, pattern('b', 1), true)
			syncDir(t, point)
			tt.do(t, point)
			_, _, err := d.Crash(All, rng())
			must(t, err)
			if got := files(t, point); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%v is left, want %v", got, tt.want)
			}
		})
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(dir, path)
			found[name] = letters(read(t, path))
		}
		return err
	}))
	return found
}

// Ensure that a torn write keeps its first sectors, however many, and what came
// before.
func TestCrashTearsTheLastWrite(t *testing.T) {
	seen := map[string]bool{}
	d, point := mount(t)
	path := point + "/file"
	for range 40 {
		write(t, path, 0, pattern('a', 4), true)
		syncDir(t, point)
		write(t, path, 0, pattern('b', 1), false)
		write(t, path, Sector, pattern('c', 3), false)
		_, _, err := d.Crash(Tear, rand.New(rand.NewPCG(rand.Uint64(), 0)))
		must(t, err)
		seen[letters(read(t, path))] = true
	}
	for _, want := range []string{"baaa", "bcaa", "bcca", "bccc"} {
		if !seen[want] {
			t.Errorf("%s was not left; seen %v", want, seen)
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		t.Errorf("%v was left", seen)
	}
}

// Ensure that every sector can be lost and every one can stay.
func TestCrashScatters(t *testing.T) {
	seen := map[string]bool{}
	d, point := mount(t)
	path := point + "/file"
	for range 60 {
		write(t, path, 0, pattern('a', 2), true)
		syncDir(t, point)
		write(t, path, 0, pattern('b', 2), false)
		_, _, err := d.Crash(Scatter, rand.New(rand.NewPCG(rand.Uint64(), 0)))
		must(t, err)
		seen[letters(read(t, path))] = true
	}
	if len(seen) != 4 {
		t.Errorf("seen %v, want all four outcomes", seen)
	}
}

// Ensure that a page whose sync failed is on the disk no more after the file
// was opened anew, though it was seen until then and the next sync succeeded.
func TestFailedSyncLosesWrites(t *testing.T) {
	d, point := mount(t)
	path := point + "/file"
	write(t, path, 0, pattern('a', 8), true)
	d.Add(Rule{Op: Sync, Path: "file", Times: 1, Errno: syscall.EIO})
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(pattern('b', 8), 0)
	must(t, err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the sync returned %v, want EIO", err)
	}
	b := make([]byte, 8*Sector)
	_, err = f.ReadAt(b, 0)
	must(t, err, f.Sync(), f.Close())
	if got := letters(b); got != "bbbbbbbb" {
		t.Errorf("the process sees %s", got)
	}
	if got := letters(read(t, path)); got != "aaaaaaaa" {
		t.Errorf("the disk has %s", got)
	}
}

func TestRules(t *testing.T) {
	d, point := mount(t)
	path := point + "/file"
	write(t, path, 0, pattern('a', 1), true)
	attempt := func() error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("b"), 0)
		return err
	}
	d.Add(Rule{Op: Write, Path: "file", Skip: 1, Times: 2, Errno: syscall.EIO})
	d.Add(Rule{Op: Write, Path: "other", Errno: syscall.EROFS})
	for i, want := range []error{nil, syscall.EIO, syscall.EIO, nil} {
		if err := attempt(); !errors.Is(err, want) {
			t.Errorf("write %d returned %v, want %v", i, err, want)
		}
	}
	end := d.Add(Rule{Op: Write, Errno: syscall.EIO})
	if err := attempt(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a write under a rule without end returned %v", err)
	}
	end()
	must(t, attempt())
}

func TestDelay(t *testing.T) {
	d, point := mount(t)
	path := point + "/file"
	d.Add(Rule{Op: Sync, Times: 1, Delay: 50 * time.Millisecond})
	begin := time.Now()
	write(t, path, 0, []byte("a"), true)
	if took := time.Since(begin); took < 50*time.Millisecond {
		t.Errorf("the sync took %v", took)
	}
	d.Add(Rule{Op: Sync, Delay: time.Hour})
	done := make(chan struct{})
	go func() {
		defer close(done)
		write(t, path, 0, []byte("a"), true)
	}()
	select {
	case <-done:
		t.Error("a sync that hangs came back")
	case <-time.After(50 * time.Millisecond):
	}
	d.Heal()
	<-done
}

func TestSpace(t *testing.T) {
	d, point := mount(t)
	path := point + "/file"
	write(t, path, 0, make([]byte, 10*block), true)
	d.Fill(3 * block)
	free := func() int64 {
		var st syscall.Statfs_t
		must(t, syscall.Statfs(point, &st))
		return int64(st.Bavail) * int64(st.Bsize)
	}
	if got := free(); got != 3*block {
		t.Errorf("%d bytes are free, want %d", got, 3*block)
	}
	write(t, path, 0, make([]byte, 12*block), true)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 2*block), 12*block); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write beyond the disk's room returned %v", err)
	}
	if err := f.Truncate(14 * block); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("an extension beyond the disk's room returned %v", err)
	}
	_, err = f.WriteAt(make([]byte, 12*block), 0) // in place
	must(t, err)
	d.Heal()
	_, err = f.WriteAt(make([]byte, 2*block), 12*block)
	must(t, err)
	if got, want := free(), int64(Size-14*block); got != want {
		t.Errorf("%d bytes are free after Heal, want %d", got, want)
	}
}

// Ensure that nothing has an effect after the power went, and that the moment
// decides whether the operation itself had.
func TestCrashAtAnOperation(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule Rule
		want string
	}{
		{"before the sync", Rule{Op: Sync, Crash: Before}, "aa"},
		{"after the sync", Rule{Op: Sync, Crash: After}, "ba"},
		{"after the second write", Rule{Op: Write, Skip: 1, Crash: After}, "ba"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, point := mount(t)
			path := point + "/file"
			write(t, path, 0, pattern('a', 2), true)
			syncDir(t, point)
			var crashed atomic.Int32
			tt.rule.Crashed = func() { crashed.Add(1) }
			d.Add(tt.rule)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			var errs []error
			for i, b := range [][]byte{pattern('b', 1), pattern('c', 1)} {
				_, err := f.WriteAt(b, int64(i)*Sector)
				errs = append(errs, err, f.Sync())
			}
			f.Close()
			if err := errors.Join(errs...); !errors.Is(err, syscall.EIO) || crashed.Load() != 1 {
				t.Errorf("errors %v, and %d crashes were told of", err, crashed.Load())
			}
			_, _, err = d.Crash(All, rng())
			must(t, err)
			if got := letters(read(t, path)); got != tt.want {
				t.Errorf("%s is left, want %s", got, tt.want)
			}
		})
	}
}

func TestFlip(t *testing.T) {
	d, point := mount(t)
	path := point + "/file"
	write(t, path, 0, pattern('a', 2), true)
	c := start(t, "map", path, fmt.Sprint(Sector))
	if got := c.line(); got != "a" {
		t.Errorf("the map shows %s, want a", got)
	}
	must(t, d.Flip("file", Sector, 1))
	fmt.Fprintln(c.stdin)
	if got := c.line(); got != "c" {
		t.Errorf("the map shows %s after the flip, want c", got)
	}
	must(t, c.stdin.Close(), c.cmd.Wait())
	if got := letters(read(t, path)); got != "ac" {
		t.Errorf("the file is %s, want ac", got)
	}
}

// Ensure what one process writes is in another's map at once.
func TestMapsFollowWrites(t *testing.T) {
	_, point := mount(t)
	path := point + "/file"
	write(t, path, 0, pattern('a', 2), true)
	c := start(t, "map", path, fmt.Sprint(Sector))
	c.line()
	write(t, path, Sector, []byte("b"), false)
	fmt.Fprintln(c.stdin)
	if got := c.line(); got != "b" {
		t.Errorf("the map shows %s, want b", got)
	}
	must(t, c.stdin.Close(), c.cmd.Wait())
}

func TestRefused(t *testing.T) {
	_, point := mount(t)
	write(t, point+"/a", 0, []byte("a"), true)
	must(t, os.Mkdir(point+"/d", 0o700))
	write(t, point+"/d/a", 0, []byte("a"), true)
	for name, err := range map[string]error{
		"link":                os.Link(point+"/a", point+"/b"),
		"symlink":             os.Symlink("a", point+"/b"),
		"rmdir of a full one": syscall.Rmdir(point + "/d"),
	} {
		if err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
}
