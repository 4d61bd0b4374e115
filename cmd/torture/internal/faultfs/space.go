package faultfs

import (
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const block = 4096

// Fill leaves so many bytes free, as if others had taken the rest, until Heal.
func (d *Disk) Fill(free int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ballast = Size - d.used() - free
}

// used is the bytes that files take. It requires d.mu.
func (d *Disk) used() (bytes int64) {
	filepath.WalkDir(d.Tree(), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it was removed in between
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			bytes += blocks(info.Size()) * block
		}
		return nil
	})
	return bytes
}

// free is the bytes that are left. It requires d.mu.
func (d *Disk) free() int64 { return max(Size-d.used()-d.ballast, 0) }

// room returns ENOSPC if a file cannot grow so far. It requires d.mu.
func (d *Disk) room(size, newSize int64) syscall.Errno {
	if more := (blocks(newSize) - blocks(size)) * block; more > 0 && more > d.free() {
		return syscall.ENOSPC
	}
	return 0
}

func blocks(bytes int64) int64 { return (bytes + block - 1) / block }

// statfs is what the disk says of its room.
func (d *Disk) statfs(out *fuse.StatfsOut) {
	d.mu.Lock()
	defer d.mu.Unlock()
	free := uint64(d.free() / block)
	*out = fuse.StatfsOut{
		Blocks: Size / block, Bfree: free, Bavail: free, Files: 1 << 20, Ffree: 1 << 20,
		Bsize: block, Frsize: block, NameLen: 255,
	}
}
