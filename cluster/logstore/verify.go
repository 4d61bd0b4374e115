package logstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
)

// contents is what a file says once all of it has been checked.
type contents struct {
	fresh bool // nothing was ever stored
	head  head
	state state
	waste []span // entries beside the extent
	bytes int64  // of the entries of the extent and beside it
}

// verifyFile checks all that the file at path holds. Nobody may write to it
// meanwhile. A file that is missing or empty is fresh.
func verifyFile(path string) (contents, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return contents{fresh: true}, nil
	}
	if err != nil {
		return contents{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return contents{}, err
	}
	return verify(f, info.Size())
}

func verify(r io.ReaderAt, size int64) (contents, error) {
	if size == 0 {
		return contents{fresh: true}, nil
	}
	p, err := openPages(r, size)
	if err != nil {
		return contents{}, err
	}
	v := verifier{pages: p, decoder: codec.NewDecoderBytes(nil, &codec.MsgpackHandle{})}
	if err := p.each(p.root, nil, 0, v.bucket); err != nil {
		return contents{}, err
	}
	return v.conclude()
}

// verifier gathers what the records say.
type verifier struct {
	pages     *pages
	decoder   *codec.Decoder
	buckets   int
	runs      []span   // of the entries found
	entryRead raft.Log // for its slices' sake
	head      *head
	state     *state
	bytes     int64
}

func (v *verifier) bucket(it item) error {
	visit := v.entry
	switch string(it.key) {
	case "conf":
		visit = v.stable
	case "logs":
	default:
		return corrupt("there is a bucket %q", it.key)
	}
	if it.flags != bucketElement {
		return corrupt("%q is not a bucket", it.key)
	}
	v.buckets++
	return v.pages.bucket(it.value, visit)
}

func (v *verifier) stable(it item) error {
	if slices.Contains([]string{KeyTerm, keyVoteTerm, keyVote}, string(it.key)) {
		return fmt.Errorf("%w, such as a build of stateraft from before logs had checksums: its value %q is none of this build's", ErrForeign, it.key)
	}
	if string(it.key) != string(stateKey) || it.flags != 0 {
		return corrupt("there is a stable value %q", it.key)
	}
	s, err := parseState(it.value)
	v.state = &s
	return err
}

func (v *verifier) entry(it item) error {
	if len(it.key) != 8 || it.flags != 0 {
		return corrupt("an entry has the key %x", it.key)
	}
	index := indexOf(it.key)
	l := &v.entryRead
	*l = raft.Log{Data: l.Data[:0], Extensions: l.Extensions[:0]}
	v.decoder.ResetBytes(it.value)
	if err := v.decoder.Decode(l); err != nil {
		return corrupt("entry %d: %v", index, err)
	}
	if n := v.decoder.NumBytesRead(); n != len(it.value) {
		return corrupt("entry %d ends after %d of %d bytes", index, n, len(it.value))
	}
	if err := unseal(index, l); err != nil {
		return err
	}
	if index == headIndex {
		h, err := parseHead(l.Data)
		v.head = &h
		return err
	}
	v.bytes += int64(len(it.value))
	return v.found(index)
}

func (v *verifier) found(index uint64) error {
	n := len(v.runs)
	switch {
	case index == 0 || n > 0 && index <= v.runs[n-1].last:
		return corrupt("entry %d is out of order", index)
	case n > 0 && index == v.runs[n-1].last+1:
		v.runs[n-1].last = index
	default:
		v.runs = append(v.runs, span{index, index})
	}
	return nil
}

func (v *verifier) conclude() (contents, error) {
	c := contents{bytes: v.bytes}
	if v.state != nil {
		c.state = *v.state
	}
	if v.head == nil {
		if v.state != nil || len(v.runs) > 0 || v.buckets == 1 {
			return c, corrupt("there is no head")
		}
		c.fresh = true
		return c, nil
	}
	c.head = *v.head
	if err := v.current(c.head.stamp, c.state.stamp); err != nil {
		return c, err
	}
	whole := c.head.extent.empty()
	for _, run := range v.runs {
		whole = whole || run.has(c.head.extent.first) && run.has(c.head.extent.last)
		c.waste = append(c.waste, run.minus(c.head.extent)...)
	}
	if !whole {
		return c, corrupt("of the entries %d to %d, only %v are there", c.head.extent.first, c.head.extent.last, v.runs)
	}
	return c, nil
}

// current holds the two records to the file's newest transaction: the newer of
// them wrote it, or is followed by no more deletions than were due, and the
// older one is the one that it knew. A transaction that changes nothing needs
// no record: raft-boltdb makes one whenever it opens the file.
func (v *verifier) current(head, state stamp) error {
	newer, older := head, state
	if state.tx > head.tx {
		newer, older = state, head
	}
	tx := v.pages.tx
	if tx < newer.tx || tx > newer.tx+newer.steps && !v.pages.idle || older.tx != newer.other {
		return corrupt("records of transactions %d and %d in a file of transaction %d", older.tx, newer.tx, tx)
	}
	return nil
}

// readTx returns the number of the newest transaction of the file at path.
func readTx(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	p, err := openPages(f, info.Size())
	if err != nil {
		return 0, err
	}
	return p.tx, nil
}
