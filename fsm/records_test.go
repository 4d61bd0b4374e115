package fsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// fillRecords writes under idempotency keys from to from+n-1, one of a
// thousand keys each time.
func (m *machine) fillRecords(from, n int) {
	m.t.Helper()
	const batch = 512
	for ; n > 0; n -= batch {
		var commands []*fsmpb.Command
		for i := range min(n, batch) {
			commands = append(commands, keyedSet(from+i))
		}
		for i, a := range m.runAll(commands...) {
			if a.Code != fsmpb.Answer_OK {
				m.t.Fatalf("record %d: %v", from+i, a.Code)
			}
		}
		from += batch
	}
}

func keyedSet(i int) *fsmpb.Command {
	c := command("w", set(fmt.Sprint("k", i%1000), `{"step":1}`))
	c.IdempotencyKey, c.RequestHash = spread(uint64(i)), spread(uint64(i)^1<<40)
	return c
}

// spread returns 16 bytes that look like those of a hash.
func spread(i uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, i*0x9e3779b97f4a7c15)
	return binary.BigEndian.AppendUint64(b, (i+1)*0xc2b2ae3d27d4eb4f)
}

// sinceEpoch moves the machine to an instant such as clusters are in, whose
// encoding is as long as it will be.
func sinceEpoch(m *machine) {
	at(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixMicro())(m)
}

// recordHeap returns what n records take in memory, with everything that finds
// and ends them.
func recordHeap(m *machine, n int) float64 {
	m.history = history{} // which has limits of its own
	before := heap()
	m.fillRecords(0, n)
	m.history = history{}
	perRecord := float64(heap()-before) / float64(n)
	runtime.KeepAlive(m.State)
	return perRecord
}

// Ensure a record takes no more than it counts for.
func TestRecordMemory(t *testing.T) {
	for _, n := range []int{20_000, 40_000} {
		m := newMachine(t)
		sinceEpoch(m)
		m.fillRecords(1<<30, 1000) // the keys are there
		got := recordHeap(m, n)
		if t.Logf("%d records: %.0f B each", n, got); got > recordBytes {
			t.Errorf("%d records take %.0f B each, want at most %d", n, got, recordBytes)
		}
	}
}

// Ensure of the real limit what TestIdempotencyFull says of a feigned one, and
// that a state as full as that is restored as it was.
func TestMillionRecords(t *testing.T) {
	if os.Getenv("STATERAFT_TEST_FULL") == "" {
		t.Skip("a million commands: set STATERAFT_TEST_FULL")
	}
	m := newMachine(t)
	sinceEpoch(m)
	m.fillRecords(0, MaxRecords)
	one := keyedSet(MaxRecords)
	if a := m.run(one); a.Code != fsmpb.Answer_IDEMPOTENCY_FULL {
		t.Errorf("the record beyond the limit: %v, want %v", a.Code, fsmpb.Answer_IDEMPOTENCY_FULL)
	}
	if a := m.run(keyedSet(0)); a.Code != fsmpb.Answer_OK || a.Results[0].Version != 1 {
		t.Errorf("the oldest request again: %v, want version 1", a)
	}
	do(set("k1", "2"))(m)
	if a := m.run(command("w", del("k1"))); !a.Results[0].Deleted {
		t.Errorf("a delete without a key: %v", a)
	}
	m.State = restored(t, save(t, m.State))
	if a := m.run(one); a.Code != fsmpb.Answer_IDEMPOTENCY_FULL {
		t.Errorf("after a restore: %v, want %v", a.Code, fsmpb.Answer_IDEMPOTENCY_FULL)
	}
	at(m.Clock() + RecordLifetime.Microseconds())(m)
	if a := m.run(one); a.Code != fsmpb.Answer_OK {
		t.Errorf("when the records' lifetime is over: %v, want %v", a.Code, fsmpb.Answer_OK)
	}
	for m.Stats().Records > 1 {
		at(m.Clock())(m)
	}
}

// BenchmarkRecords tells what the idempotency records of a full state take:
// in memory, in a snapshot, and in the time of a restore.
func BenchmarkRecords(b *testing.B) {
	var perRecord, inImage float64
	var restore time.Duration
	for range b.N {
		m := &machine{State: New(), t: b}
		m.session = m.entry(&fsmpb.Entry{OpenSession: opening("n1", "boot")}).Session
		sinceEpoch(m)
		m.fillRecords(1<<30, 1000)
		perRecord = recordHeap(m, MaxRecords-1000)
		m.history.base = m.revision
		var image bytes.Buffer
		if err := m.Freeze().Save(&image); err != nil {
			b.Fatal(err)
		}
		inImage = float64(image.Len()) / MaxRecords
		begin := time.Now()
		restored(b, image.Bytes())
		restore += time.Since(begin)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perRecord, "B/record")
	b.ReportMetric(inImage, "B/record-in-snapshot")
	b.ReportMetric(float64(restore.Milliseconds())/float64(b.N), "ms/restore")
}
