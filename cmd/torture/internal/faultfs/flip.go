package faultfs

import (
	"os"
	"path/filepath"
	"strings"
)

// Flip flips one bit of a file, below everybody, and has the kernel forget what
// it knows of it. A process may use the disk.
func (d *Disk) Flip(name string, offset int64, bit uint) error {
	d.mu.Lock()
	err := FlipBit(filepath.Join(d.Tree(), name), offset, bit)
	d.mu.Unlock() // the kernel may have a question first
	if err != nil {
		return err
	}
	inode := d.root.EmbeddedInode()
	for _, part := range strings.Split(filepath.ToSlash(name), "/") {
		if inode = inode.GetChild(part); inode == nil {
			return nil // nobody has it open
		}
	}
	inode.NotifyContent(offset, 1) // ENOENT: the kernel knows nothing of it
	return nil
}

// FlipBit flips one bit of a file.
func FlipBit(path string, offset int64, bit uint) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, offset); err != nil {
		return err
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b, offset); err != nil {
		return err
	}
	return f.Close()
}
