package fsm

import (
	"bytes"
	"time"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

const (
	// RecordLifetime is how long, in cluster time, the answer to an
	// idempotency key is kept; never less.
	RecordLifetime = 10 * time.Minute

	// MaxRecords bounds the kept answers. A record of more than recordBytes
	// counts as several.
	MaxRecords = 1_000_000

	recordBytes    = 128
	recordOverhead = 40 // key, request hash, time
)

type recordKey [16]byte

func toRecordKey(b []byte) (k recordKey) {
	copy(k[:], b)
	return k
}

// A record is the kept answer to one idempotency key. Immutable.
type record struct {
	key     recordKey
	request recordKey
	time    int64
	answer  []byte // encoded fsmpb.Answer
}

func (r *record) units() int {
	return (recordOverhead + len(r.answer) + recordBytes - 1) / recordBytes
}

// records are the kept answers, oldest first.
type records struct {
	queue queue[record]
	byKey *btree.BTreeG[*record] // takes half of a map's memory
	units int
	sum   uint64 // of the hashes of all
}

func newRecords() records {
	return records{byKey: newTree(func(a, b *record) bool { return bytes.Compare(a.key[:], b.key[:]) < 0 })}
}

// once answers c from its record, or runs it and keeps the answer. at is an
// answer that says where the state stands.
func (r *records) once(c *fsmpb.Command, at *fsmpb.Answer, run func() *fsmpb.Answer) *fsmpb.Answer {
	rec := &record{key: toRecordKey(c.IdempotencyKey), request: toRecordKey(c.RequestHash), time: at.Time}
	if old, ok := r.byKey.Get(rec); ok {
		return old.answerTo(rec.request, at)
	}
	if r.units >= MaxRecords {
		at.Code = fsmpb.Answer_IDEMPOTENCY_FULL
		return at
	}
	a := run()
	rec.answer = encodeAnswer(a)
	r.add(rec)
	return a
}

// answerTo returns the kept answer if request is the one it was given to.
func (r *record) answerTo(request recordKey, at *fsmpb.Answer) *fsmpb.Answer {
	if request != r.request {
		at.Code = fsmpb.Answer_IDEMPOTENCY_MISMATCH
		return at
	}
	a := new(fsmpb.Answer)
	if err := proto.Unmarshal(r.answer, a); err != nil {
		panic("fsm: a kept answer does not decode: " + err.Error()) // we encoded it
	}
	return a
}

func encodeAnswer(a *fsmpb.Answer) []byte {
	buf, err := proto.MarshalOptions{Deterministic: true}.Marshal(a)
	if err != nil {
		panic("fsm: an answer does not encode: " + err.Error()) // no strings, nothing to fail
	}
	return buf
}

func (r *records) add(rec *record) {
	r.queue.push(rec)
	r.byKey.Set(rec)
	r.units += rec.units()
	r.sum += rec.hash()
}

// drop forgets records past their lifetime at clock, at most n of them.
func (r *records) drop(clock int64, n int) {
	for ; n > 0 && r.queue.len() > 0; n-- {
		if r.queue.at(0).time+RecordLifetime.Microseconds() > clock {
			return
		}
		rec := r.queue.pop()
		r.byKey.Delete(rec)
		r.units -= rec.units()
		r.sum -= rec.hash()
	}
}
