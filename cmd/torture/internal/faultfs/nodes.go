package faultfs

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fileNode is a file or a directory. Reads of names and attributes are those of
// the loopback.
type fileNode struct {
	*gofs.LoopbackNode
	disk *Disk
}

// WrapChild makes the loopback's nodes ours.
func (n *fileNode) WrapChild(_ context.Context, ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &fileNode{ops.(*gofs.LoopbackNode), n.disk}
}

// name is the node's path within the disk.
func (n *fileNode) name() string { return n.Path(n.Root()) }

// path is where the node's file is.
func (n *fileNode) path() string { return filepath.Join(n.disk.Tree(), n.name()) }

// Statfs tells of the disk's room.
func (n *fileNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	n.disk.statfs(out)
	return 0
}

// Create makes a file and opens it.
func (n *fileNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	var child *gofs.Inode
	var h *handle
	answer := n.disk.do(Create, filepath.Join(n.name(), name), func() syscall.Errno {
		path := filepath.Join(n.path(), name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, os.FileMode(mode&0o777))
		if err != nil {
			return errno(err)
		}
		if err := n.disk.names.made(path); err != nil {
			f.Close()
			return errno(err)
		}
		var code syscall.Errno
		if child, code = n.Lookup(ctx, name, out); code != 0 {
			f.Close()
			return code
		}
		h = &handle{child.Operations().(*fileNode), f}
		return 0
	})
	if answer != 0 {
		return nil, nil, 0, answer
	}
	return child, h, 0, 0
}

// Mkdir makes a directory.
func (n *fileNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (child *gofs.Inode, answer syscall.Errno) {
	answer = n.disk.do(Create, filepath.Join(n.name(), name), func() (code syscall.Errno) {
		if child, code = n.LoopbackNode.Mkdir(ctx, name, mode, out); code != 0 {
			return code
		}
		return errno(n.disk.names.made(filepath.Join(n.path(), name)))
	})
	return child, answer
}

// Unlink removes a file.
func (n *fileNode) Unlink(_ context.Context, name string) syscall.Errno {
	return n.disk.do(Remove, filepath.Join(n.name(), name), func() syscall.Errno {
		return errno(n.disk.names.remove(filepath.Join(n.path(), name)))
	})
}

// Rmdir removes an empty directory.
func (n *fileNode) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.disk.do(Remove, filepath.Join(n.name(), name), func() syscall.Errno {
		path := filepath.Join(n.path(), name)
		entries, err := os.ReadDir(path)
		if err == nil && len(entries) > 0 {
			err = syscall.ENOTEMPTY
		}
		if err != nil {
			return errno(err)
		}
		return errno(n.disk.names.remove(path))
	})
}

// Rename renames a file or a directory.
func (n *fileNode) Rename(_ context.Context, name string, newParent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*fileNode)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	return n.disk.do(Rename, filepath.Join(to.name(), newName), func() syscall.Errno {
		return errno(n.disk.names.rename(filepath.Join(n.path(), name), filepath.Join(to.path(), newName)))
	})
}

// Open opens a file. It can always be read, so that what is overwritten can be
// kept.
func (n *fileNode) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	mode := os.O_RDONLY
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(n.path(), mode, 0)
	if err != nil {
		return nil, 0, errno(err)
	}
	return &handle{n, f}, 0, 0
}

// Setattr changes the size, or what a crash does not touch.
func (n *fileNode) Setattr(ctx context.Context, f gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, resize := in.GetSize()
	if !resize {
		return n.LoopbackNode.Setattr(ctx, f, in, out)
	}
	return n.disk.do(Resize, n.name(), func() syscall.Errno {
		if code := n.resize(int64(size)); code != 0 {
			return code
		}
		return n.LoopbackNode.Setattr(ctx, f, in, out)
	})
}

// resize takes note of what a new size cuts off. It requires disk.mu.
func (n *fileNode) resize(size int64) syscall.Errno {
	f, err := os.OpenFile(n.path(), os.O_RDWR, 0)
	if err != nil {
		return errno(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return errno(err)
	}
	if code := n.disk.room(info.Size(), size); code != 0 {
		return code
	}
	return errno(n.disk.change(f, size, info.Size()))
}

// OpendirHandle opens a directory.
func (n *fileNode) OpendirHandle(_ context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	stream, code := gofs.NewLoopbackDirStream(n.path())
	if code != 0 {
		return nil, 0, code
	}
	return &dirHandle{stream.(dirStream), n}, 0, 0
}

// Links and devices are not for this disk.
func (n *fileNode) Link(context.Context, gofs.InodeEmbedder, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}

// Symlink is refused.
func (n *fileNode) Symlink(context.Context, string, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}

// Mknod is refused.
func (n *fileNode) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}
