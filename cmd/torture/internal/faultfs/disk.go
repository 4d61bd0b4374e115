package faultfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Size is that of a disk, in bytes.
const Size = 1 << 30

const (
	closeTimeout = 5 * time.Second
	closePause   = 10 * time.Millisecond
)

const (
	treeDir = "tree" // what the mount shows
	lostDir = "lost" // files that were removed, while that may be undone
)

// Disk is one file system. All methods may be called concurrently.
type Disk struct {
	dir        string
	mountPoint string
	root       *fileNode

	mu       sync.Mutex // guards everything below, and what changes below dir
	rules    []*rule
	contents map[uint64]*unsynced // by inode
	names    journal
	last     lastWrite
	ballast  int64 // bytes that others have on the disk
	cut      bool  // the power is off
}

// Possible returns nil if disks can be mounted here, else why not.
func Possible() error {
	if runtime.GOOS != "linux" {
		return errors.New("a disk that can be hurt needs Linux")
	}
	if os.Geteuid() != 0 {
		return errors.New("mounting a disk that can be hurt needs root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("a disk that can be hurt needs FUSE: %w", err)
	}
	return f.Close()
}

// Mount makes an empty disk in dir and mounts it at mountPoint; both are made,
// with their parents. Close must be called.
func Mount(dir, mountPoint string) (*Disk, error) {
	d := &Disk{dir: dir, mountPoint: mountPoint, contents: map[uint64]*unsynced{}, names: journal{lost: filepath.Join(dir, lostDir)}}
	for _, path := range []string{d.Tree(), d.names.lost, mountPoint} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
	}
	root, err := gofs.NewLoopbackRoot(d.Tree())
	if err != nil {
		return nil, err
	}
	d.root = &fileNode{root.(*gofs.LoopbackNode), d}
	never := time.Duration(0)
	_, err = gofs.Mount(mountPoint, d.root, &gofs.Options{
		EntryTimeout: &never, AttrTimeout: &never, NegativeTimeout: &never, NullPermissions: true,
		MountOptions: fuse.MountOptions{FsName: "faultfs", Name: "faultfs", DirectMountStrict: true, AllowOther: true, ExplicitDataCacheControl: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mount a disk at %s: %w", mountPoint, err)
	}
	return d, nil
}

// Close heals the disk and unmounts it; processes that have a file open there
// have closeTimeout to end. Mount namespaces that were made meanwhile keep what
// they have copied.
func (d *Disk) Close() error {
	d.Heal()
	for begin := time.Now(); ; time.Sleep(closePause) {
		err := syscall.Unmount(d.mountPoint, 0)
		if err == nil || time.Since(begin) > closeTimeout {
			return os.NewSyscallError("unmount "+d.mountPoint, err)
		}
	}
}

// Tree is the directory that holds the disk's files.
func (d *Disk) Tree() string { return filepath.Join(d.dir, treeDir) }

// Empty removes all files. No process may use the disk.
func (d *Disk) Empty() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget()
	if err := os.RemoveAll(d.Tree()); err != nil {
		return err
	}
	return os.Mkdir(d.Tree(), 0o700)
}

// Settle makes all durable. No process may use the disk.
func (d *Disk) Settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget()
}

// forget makes all durable. It requires d.mu.
func (d *Disk) forget() {
	for inode := range d.contents {
		d.synced(inode)
	}
	d.names.settle(len(d.names.changes))
}

// errno is the error of a system call as FUSE wants it.
func errno(err error) syscall.Errno { return gofs.ToErrno(err) }
