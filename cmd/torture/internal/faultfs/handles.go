package faultfs

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// handle is an open file.
type handle struct {
	node *fileNode
	file *os.File
}

// Read reads at an offset.
func (h *handle) Read(_ context.Context, b []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n := 0
	answer := h.node.disk.do(Read, h.node.name(), func() syscall.Errno {
		var err error
		if n, err = h.file.ReadAt(b, off); errors.Is(err, io.EOF) {
			err = nil
		}
		return errno(err)
	})
	return fuse.ReadResultData(b[:n]), answer
}

// Write writes at an offset. A write that fails has no effect.
func (h *handle) Write(_ context.Context, b []byte, off int64) (uint32, syscall.Errno) {
	disk, n := h.node.disk, 0
	answer := disk.do(Write, h.node.name(), func() syscall.Errno {
		info, err := h.file.Stat()
		if err != nil {
			return errno(err)
		}
		end := off + int64(len(b))
		if code := disk.room(info.Size(), end); code != 0 {
			return code
		}
		if err := disk.change(h.file, off, end); err != nil {
			return errno(err)
		}
		n, err = h.file.WriteAt(b, off)
		return errno(err)
	})
	return uint32(n), answer
}

// Fsync makes the content durable. The backing file is not synced: the crashes
// here are those of [Disk.Crash].
func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	disk := h.node.disk
	inode, err := h.inode()
	if err != nil {
		return errno(err)
	}
	answer := disk.do(Sync, h.node.name(), func() syscall.Errno {
		disk.synced(inode)
		return 0
	})
	if answer != 0 {
		disk.failedSync(inode)
	}
	return answer
}

// failedSync loses what an fsync was to make durable, if there is power: what a
// crash takes is for [Disk.Crash] to say.
func (d *Disk) failedSync(inode uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.cut {
		d.lose(inode)
	}
}

func (h *handle) inode() (uint64, error) {
	var st syscall.Stat_t
	err := syscall.Fstat(int(h.file.Fd()), &st)
	return st.Ino, err
}

// Getattr tells of the file, which may have no name any more.
func (h *handle) Getattr(_ context.Context, out *fuse.AttrOut) syscall.Errno {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(h.file.Fd()), &st); err != nil {
		return errno(err)
	}
	out.FromStat(&st)
	return 0
}

// Flush has nothing to do.
func (h *handle) Flush(context.Context) syscall.Errno { return 0 }

// Release closes the file.
func (h *handle) Release(context.Context) syscall.Errno { return errno(h.file.Close()) }

// dirStream is what the loopback's directories can do here.
type dirStream interface {
	gofs.FileReaddirenter
	gofs.FileReleasedirer
	gofs.FileSeekdirer
}

// dirHandle is an open directory.
type dirHandle struct {
	dirStream
	node *fileNode
}

// Fsyncdir makes the names durable.
func (h *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno {
	return h.node.disk.do(Sync, h.node.name(), func() syscall.Errno {
		inode, err := inodeOf(h.node.path())
		if err != nil {
			return errno(err)
		}
		h.node.disk.names.sync(inode)
		return 0
	})
}
