package faultfs

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	// Sector is what a disk writes whole or not at all, in bytes.
	Sector = 512

	// mostSectors bounds what is kept of one disk to be undone.
	mostSectors = 1 << 18
)

// unsynced is what a file has lost of its durable content to writes that no
// fsync followed.
type unsynced struct {
	file *os.File         // where it can be put back
	size int64            // that is durable
	was  map[int64][]byte // by sector; nil: beyond the durable size
}

// lastWrite is the newest one: of sectors from first to before end.
type lastWrite struct {
	inode      uint64
	first, end int64
}

// change takes note of the content of f between two offsets, which is about to
// be overwritten or cut off. It requires d.mu.
func (d *Disk) change(f *os.File, from, to int64) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	u, err := d.unsyncedOf(f, st)
	if err != nil {
		return err
	}
	first := from / Sector
	end := max(first, (to+Sector-1)/Sector)
	for s := first; s < end; s++ {
		if err := u.note(s); err != nil {
			return err
		}
	}
	d.last = lastWrite{st.Ino, first, end}
	if len(u.was) > mostSectors {
		d.synced(st.Ino)
	}
	return nil
}

// unsyncedOf has a descriptor of its own: f may be closed before the next fsync.
func (d *Disk) unsyncedOf(f *os.File, st syscall.Stat_t) (*unsynced, error) {
	if u := d.contents[st.Ino]; u != nil {
		return u, nil
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	u := &unsynced{file: os.NewFile(uintptr(fd), f.Name()), size: st.Size, was: map[int64][]byte{}}
	d.contents[st.Ino] = u
	return u, nil
}

// note keeps the durable content of a sector.
func (u *unsynced) note(sector int64) error {
	if _, known := u.was[sector]; known {
		return nil
	}
	if sector*Sector >= u.size {
		u.was[sector] = nil
		return nil
	}
	b := make([]byte, Sector)
	if _, err := u.file.ReadAt(b, sector*Sector); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	u.was[sector] = b
	return nil
}

// synced makes a file's content durable. It requires d.mu.
func (d *Disk) synced(inode uint64) {
	if u := d.contents[inode]; u != nil {
		u.file.Close()
		delete(d.contents, inode)
	}
	if d.last.inode == inode {
		d.last = lastWrite{}
	}
}

// undo puts the durable content back, except in sectors that are kept, and with
// newSize keeps the size that the file has.
func (u *unsynced) undo(kept func(sector int64) bool, newSize bool) error {
	st, err := u.file.Stat()
	if err != nil {
		return err
	}
	size := u.size
	if newSize {
		size = st.Size()
	}
	blank := make([]byte, Sector)
	for sector, was := range u.was {
		if sector*Sector < st.Size() && kept(sector) {
			continue
		}
		if was == nil {
			was = blank
		}
		if _, err := u.file.WriteAt(was, sector*Sector); err != nil {
			return err
		}
	}
	return u.file.Truncate(size)
}

// lose takes away what is not durable of a file's content. It requires d.mu.
func (d *Disk) lose(inode uint64) error {
	u := d.contents[inode]
	if u == nil {
		return nil
	}
	defer d.synced(inode)
	return u.undo(func(int64) bool { return false }, false)
}
