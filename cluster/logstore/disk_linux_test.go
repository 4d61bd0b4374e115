package logstore

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// command runs a command and skips the test if it fails: not every machine lets
// a test mount file systems.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Skipf("%s %q: %v %s", name, args, err, out)
	}
}

func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	command(t, "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir)
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
	}
}

// TestNearlyFull fills a disk from beside and by the log itself. The store must
// say so while it can still write, and that there is room again.
func TestNearlyFull(t *testing.T) {
	cfg := testConfig(t, mountTmpfs(t, "64m"))
	s := openStore(t, cfg)
	filler := filepath.Join(cfg.Dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 59<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "full", s.Full)
	store(t, s, 1, 100, 1)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "with room again", func() bool { return !s.Full() })

	l := &raft.Log{Index: 100, Data: make([]byte, 100<<10)}
	for !s.Full() {
		l.Index++
		if err := s.StoreLog(l); err != nil {
			t.Fatalf("the disk is full ahead of the warning: %v", err)
		}
		eventually(t, "looked at", func() bool { return len(s.space.look) == 0 }) // the writes are quick
	}
	if err := s.DeleteRange(1, l.Index-10); err != nil {
		t.Fatal(err)
	}
	eventually(t, "with room again after the log was cut", func() bool { return !s.Full() })
}

// TestNoSpace writes until the disk is full to the last byte.
func TestNoSpace(t *testing.T) {
	cfg, failed := failing(t)
	cfg.Dir = mountTmpfs(t, "4m")
	s := openStore(t, cfg)
	var stored uint64
	for {
		err := s.StoreLog(&raft.Log{Index: stored + 1, Data: make([]byte, 50<<10)})
		if err == nil {
			stored++
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v, want ENOSPC", err)
		}
		break
	}
	if err := <-failed; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("told of %v, want ENOSPC", err)
	}
	s.Close()
	if c, err := verifyFile(filepath.Join(cfg.Dir, FileName)); err != nil || (c.head.extent != span{1, stored}) {
		t.Errorf("the file holds %v, %v, want %d entries", c.head.extent, err, stored)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	for _, written := range []bool{false, true} {
		cfg := testConfig(t, mountTmpfs(t, "4m"))
		if written {
			if err := openStore(t, cfg).Close(); err != nil {
				t.Fatal(err)
			}
		}
		command(t, "mount", "-o", "remount,ro", cfg.Dir)
		if _, err := Open(cfg); !errors.Is(err, syscall.EROFS) {
			t.Errorf("error %v, want EROFS", err)
		}
	}
}

// TestFrozenDisk has a disk hang in the kernel, where nothing ends the call.
func TestFrozenDisk(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.ext4", "-q", image)
	cfg, failed := failing(t)
	command(t, "mount", "-o", "loop", image, cfg.Dir)
	t.Cleanup(func() { syscall.Unmount(cfg.Dir, syscall.MNT_DETACH) })
	cfg.StallTimeout = 3 * time.Second
	s := openStore(t, cfg)
	store(t, s, 1, 10, 1)

	command(t, "fsfreeze", "-f", cfg.Dir)
	thaw := time.AfterFunc(30*time.Second, func() { exec.Command("fsfreeze", "-u", cfg.Dir).Run() })
	if err := s.StoreLogs(entries(11, 11, 1)); !errors.Is(err, ErrStalled) {
		t.Errorf("error %v, want ErrStalled", err)
	}
	if err := <-failed; !errors.Is(err, ErrStalled) {
		t.Errorf("told of %v, want ErrStalled", err)
	}
	if err := s.Close(); !errors.Is(err, ErrStalled) {
		t.Errorf("Close: %v, want ErrStalled", err)
	}
	if thaw.Stop() {
		command(t, "fsfreeze", "-u", cfg.Dir)
	}
	s.wg.Wait()
}
