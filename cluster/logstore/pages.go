package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"slices"
)

// What bbolt writes, version 2 of its format. Its own reader trusts every
// number in a page: a damaged file makes it panic, on goroutines of its own,
// run in circles, or show the wrong memory. This reader trusts none. All
// numbers are in the host's byte order.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeaderSize = 16 // id 8, flags 2, count 2, overflow 4
	elementSize    = 16 // branch: pos 4, key size 4, id 8; leaf: flags 4, pos 4, key size 4, value size 4
	metaSize       = 64 // magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, pages 8, tx 8, checksum 8
	bucketSize     = 16 // root 8, sequence 8; root 0: the bucket's one page follows

	branchPage = 1
	leafPage   = 2

	bucketElement = 1 // flag of a leaf's element whose value is a bucket

	newTx = 1 // the newest transaction of a file that bbolt has just made

	minPageSize = 1 << 10
	maxPageSize = 1 << 24
	maxDepth    = 32
)

var order = binary.NativeEndian

// meta is a root of the file; there are two, written in turn.
type meta struct {
	pageSize int64
	root     uint64 // page of the bucket of buckets
	pages    uint64 // pages that were ever in use
	tx       uint64 // number of the transaction that wrote it
}

func parseMeta(page []byte) (meta, error) {
	b := page[pageHeaderSize:]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[56:]) != sum.Sum64() {
		return meta{}, errors.New("not a meta page")
	}
	m := meta{int64(order.Uint32(b[8:])), order.Uint64(b[16:]), order.Uint64(b[40:]), order.Uint64(b[48:])}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return meta{}, errors.New("impossible page size")
	}
	return m, nil
}

// pages reads a bolt file that nobody writes to.
type pages struct {
	r    io.ReaderAt
	meta      // the newer one
	idle bool // the newest transaction changed nothing
	bufs [maxDepth][]byte
}

// openPages reads both metas, which must be whole and of successive
// transactions.
func openPages(r io.ReaderAt, size int64) (*pages, error) {
	m, err := readMeta(r, 0)
	if err != nil {
		return nil, err
	}
	older, err := readMeta(r, m.pageSize)
	if err != nil {
		return nil, err
	}
	if older.tx > m.tx {
		m, older = older, m
	}
	switch {
	case m.tx != older.tx+1 || m.pageSize != older.pageSize:
		return nil, corrupt("meta pages of transactions %d and %d", older.tx, m.tx)
	case m.pages > uint64(size/m.pageSize):
		return nil, corrupt("the file has %d pages of %d", size/m.pageSize, m.pages)
	}
	return &pages{r: r, meta: m, idle: m.root == older.root}, nil
}

func readMeta(r io.ReaderAt, at int64) (meta, error) {
	page := make([]byte, pageHeaderSize+metaSize)
	if _, err := r.ReadAt(page, at); errors.Is(err, io.EOF) {
		return meta{}, corrupt("the file has no two meta pages")
	} else if err != nil {
		return meta{}, err
	}
	m, err := parseMeta(page)
	if err != nil {
		return meta{}, corrupt("at byte %d: %v", at, err)
	}
	return m, nil
}

// item is an element of a page: a key with a value, or with a page below.
// Its slices are good until another page is read at the same depth.
type item struct {
	flags      uint32
	key, value []byte
	child      uint64
}

// each calls visit for every element of the leaves of the tree under the page
// id, in order. first is the key that the parent has for the tree.
func (p *pages) each(id uint64, first []byte, depth int, visit func(item) error) error {
	if depth == maxDepth {
		return corrupt("page %d is %d pages deep", id, depth)
	}
	items, leaf, err := p.read(id, depth)
	if err != nil {
		return err
	}
	if first != nil && (len(items) == 0 || !bytes.Equal(items[0].key, first)) {
		return corrupt("page %d is not the one that belongs in its place", id)
	}
	for _, it := range items {
		if leaf {
			err = visit(it)
		} else {
			err = p.each(it.child, it.key, depth+1, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads the page id with all that continues it.
func (p *pages) read(id uint64, depth int) (items []item, leaf bool, err error) {
	if id < 2 || id >= p.pages {
		return nil, false, corrupt("page %d of %d", id, p.pages)
	}
	b, err := p.extend(p.bufs[depth][:0], id, p.pageSize)
	if err != nil {
		return nil, false, err
	}
	if got := order.Uint64(b); got != id {
		return nil, false, corrupt("page %d says that it is page %d", id, got)
	}
	if b, err = p.extend(b, id, pageHeaderSize+elementSize*int64(order.Uint16(b[10:]))); err != nil {
		return nil, false, err
	}
	size, err := layout(id, b)
	if err != nil {
		return nil, false, err
	}
	if size == pageHeaderSize && p.tx > newTx {
		return nil, false, corrupt("page %d is empty", id)
	}
	if overflow := int64(order.Uint32(b[12:])); overflow != (size-1)/p.pageSize {
		return nil, false, corrupt("page %d has %d bytes and continues on %d pages", id, size, overflow)
	}
	if b, err = p.extend(b, id, size); err != nil {
		return nil, false, err
	}
	p.bufs[depth] = b
	leaf = order.Uint16(b[8:]) == leafPage
	return split(b, leaf), leaf, nil
}

// extend reads on until b, which begins with the page id, has size bytes.
func (p *pages) extend(b []byte, id uint64, size int64) ([]byte, error) {
	at, have := int64(id)*p.pageSize, int64(len(b))
	if size <= have {
		return b, nil
	}
	if at+size > int64(p.pages)*p.pageSize {
		return nil, corrupt("page %d ends behind the file", id)
	}
	b = slices.Grow(b, int(size-have))[:size]
	_, err := p.r.ReadAt(b[have:], at+have)
	return b, err
}

// layout returns the size of a page whose header and table of elements are b.
// bbolt writes keys and values one after another, behind the table, so all but
// their sizes follows: a wrong count, flag or position shows.
func layout(id uint64, b []byte) (int64, error) {
	flags, count := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || flags == branchPage && count == 0 {
		return 0, corrupt("page %d has flags %#x and %d elements", id, flags, count)
	}
	end := int64(pageHeaderSize + elementSize*count)
	if int64(len(b)) < end {
		return 0, corrupt("page %d has no room for %d elements", id, count)
	}
	for i := range count {
		at := pageHeaderSize + elementSize*i
		pos, key, value := order.Uint32(b[at:]), order.Uint32(b[at+4:]), uint32(0)
		if flags == leafPage {
			pos, key, value = order.Uint32(b[at+4:]), order.Uint32(b[at+8:]), order.Uint32(b[at+12:])
		}
		if int64(at)+int64(pos) != end || key == 0 {
			return 0, corrupt("element %d of page %d is not where it belongs", i, id)
		}
		end += int64(key) + int64(value)
	}
	return end, nil
}

// split takes apart a page that layout has checked and that is there in full.
func split(b []byte, leaf bool) []item {
	items := make([]item, order.Uint16(b[10:]))
	data := b[pageHeaderSize+elementSize*len(items):]
	for i := range items {
		at := b[pageHeaderSize+elementSize*i:]
		if !leaf {
			key := order.Uint32(at[4:])
			items[i], data = item{key: data[:key], child: order.Uint64(at[8:])}, data[key:]
			continue
		}
		key, value := order.Uint32(at[8:]), order.Uint32(at[12:])
		items[i] = item{flags: order.Uint32(at), key: data[:key], value: data[key:][:value]}
		data = data[key:][value:]
	}
	return items
}

// bucket calls visit for every element of the bucket whose value is b. Its
// pages are read at depth 1 and below.
func (p *pages) bucket(b []byte, visit func(item) error) error {
	if len(b) < bucketSize {
		return corrupt("a bucket of %d bytes", len(b))
	}
	root, inline := order.Uint64(b), b[bucketSize:]
	if root != 0 {
		if len(inline) > 0 {
			return corrupt("a bucket with %d bytes beside its pages", len(inline))
		}
		return p.each(root, nil, 1, visit)
	}
	if len(inline) < pageHeaderSize || order.Uint16(inline[8:]) != leafPage {
		return corrupt("a bucket without a page")
	}
	size, err := layout(0, inline)
	if err != nil || size != int64(len(inline)) {
		return corrupt("a bucket with a page of %d bytes in %d: %v", size, len(inline), err)
	}
	for _, it := range split(inline, true) {
		if err := visit(it); err != nil {
			return err
		}
	}
	return nil
}
