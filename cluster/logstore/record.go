package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/hashicorp/raft"
)

// ErrCorrupt is what damage of the file is an instance of.
var ErrCorrupt = errors.New("the log is damaged")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// ErrForeign says that the file is whole and not this package's: raft-boltdb
// alone wrote it, as early builds of stateraft did.
var ErrForeign = errors.New("the log was written by another program")

// format is the newest version of records that this build reads, and the one
// that it writes.
const format = 1

// sealSize is what a seal puts before an entry's Extensions: the format's
// number and the checksum.
const sealSize = 1 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers every field of l, with ext for its Extensions. Lengths are in
// it so that no byte can move from one field to another.
func checksum(l *raft.Log, ext []byte) (uint32, error) {
	b := make([]byte, 0, 64)
	for _, n := range []uint64{l.Index, l.Term, uint64(l.Type), uint64(len(l.Data)), uint64(len(ext))} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b, err := l.AppendedAt.AppendBinary(b)
	if err != nil {
		return 0, fmt.Errorf("entry %d: %w", l.Index, err)
	}
	crc := crc32.Update(0, castagnoli, b)
	crc = crc32.Update(crc, castagnoli, l.Data)
	return crc32.Update(crc, castagnoli, ext), nil
}

// seal returns a copy of l as it is stored. The copy shares l's Data.
func seal(l *raft.Log) (*raft.Log, error) {
	crc, err := checksum(l, l.Extensions)
	if err != nil {
		return nil, err
	}
	sealed := *l
	sealed.Extensions = make([]byte, sealSize, sealSize+len(l.Extensions))
	sealed.Extensions[0] = format
	binary.LittleEndian.PutUint32(sealed.Extensions[1:], crc)
	sealed.Extensions = append(sealed.Extensions, l.Extensions...)
	return &sealed, nil
}

// unseal checks the record found at index and turns it back into what was
// sealed.
func unseal(index uint64, l *raft.Log) error {
	if len(l.Extensions) < sealSize {
		return corrupt("entry %d has no checksum; was the file written by another program?", index)
	}
	if v := l.Extensions[0]; v != format {
		return corrupt("entry %d has format %d, this build reads %d", index, v, format)
	}
	ext := l.Extensions[sealSize:]
	crc, err := checksum(l, ext)
	if err != nil || l.Index != index || crc != binary.LittleEndian.Uint32(l.Extensions[1:]) {
		return corrupt("entry %d does not match its checksum", index)
	}
	if len(ext) == 0 {
		ext = nil
	}
	l.Extensions = ext
	return nil
}

// stamp says which transaction wrote a record.
type stamp struct {
	tx    uint64 // its number
	steps uint64 // deletions, a transaction each and without a record, that were still due after it
	other uint64 // the newest transaction before it that wrote the other record; 0: none
}

// headIndex is the index that the head is stored at. Raft never gets there.
const headIndex = math.MaxUint64

// head says which entries count.
type head struct {
	stamp
	extent span
}

func (h head) record() (*raft.Log, error) {
	var data []byte
	for _, n := range []uint64{h.tx, h.steps, h.other, h.extent.first, h.extent.last} {
		data = binary.LittleEndian.AppendUint64(data, n)
	}
	return seal(&raft.Log{Index: headIndex, Data: data})
}

// parseHead reads a head that has been unsealed.
func parseHead(data []byte) (head, error) {
	if len(data) != 5*8 {
		return head{}, corrupt("the head has %d bytes", len(data))
	}
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(data[8*i:]) }
	h := head{stamp{n(0), n(1), n(2)}, span{n(3), n(4)}}
	if h.extent.first > h.extent.last {
		return head{}, corrupt("the head names entries %d to %d", h.extent.first, h.extent.last)
	}
	return h, nil
}

// stateKey is where the state is stored.
var stateKey = []byte("state")

// ballot is what Raft must remember of terms; a term of 0 is none.
type ballot struct {
	term      uint64
	voteTerm  uint64
	candidate []byte // voted for in voteTerm; read-only
}

// state is the record of a ballot.
type state struct {
	stamp
	ballot
}

func (s state) record() []byte {
	b := []byte{format}
	for _, n := range []uint64{s.tx, s.steps, s.other, s.term, s.voteTerm} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(b, s.candidate...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

const stateSize = 1 + 5*8 + 4 // without the candidate

func parseState(b []byte) (state, error) {
	if len(b) < stateSize || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return state{}, corrupt("term and vote do not match their checksum")
	}
	if b[0] != format {
		return state{}, corrupt("term and vote have format %d, this build reads %d", b[0], format)
	}
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[1+8*i:]) }
	candidate := slices.Clone(b[stateSize-4 : len(b)-4])
	return state{stamp{n(0), n(1), n(2)}, ballot{n(3), n(4), candidate}}, nil
}

// indexOf reads the key of an entry.
func indexOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
