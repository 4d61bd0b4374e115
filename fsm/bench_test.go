package fsm

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// The state that benchmarks work on: a thousand keys in each of a thousand
// namespaces (a hundred with -short), 256 bytes each.
const (
	benchKeys  = 1000 // of a namespace
	benchValue = 256  // bytes
	benchBatch = 64   // commands
)

func benchNamespaces() int {
	if testing.Short() {
		return 100
	}
	return 1000
}

func benchNS(i int) string { return fmt.Sprintf("w\x00default\x00workflow-%04d", i) }

func benchSet(ns, key int) *fsmpb.Command {
	return command(benchNS(ns), set(fmt.Sprintf("key-%03d", key), strings.Repeat("x", benchValue)))
}

// benchImage is the snapshot of that state, made once.
var benchImage = sync.OnceValue(func() []byte {
	m := &machine{State: New(), t: new(testing.B)}
	m.session = m.entry(&fsmpb.Entry{Stamp: 1, OpenSession: opening("n1", "boot")}).Session
	for ns := range benchNamespaces() {
		c := command(benchNS(ns))
		for k := range benchKeys {
			c.Ops = append(c.Ops, benchSet(ns, k).Ops[0])
		}
		m.run(c)
	}
	var out bytes.Buffer
	if err := m.Freeze().Save(&out); err != nil {
		panic(err)
	}
	return out.Bytes()
})

func benchMachine(b *testing.B) *machine {
	m := &machine{State: restored(b, benchImage()), t: b}
	m.index = m.Point().Index
	m.session = m.entry(&fsmpb.Entry{Stamp: 2, OpenSession: opening("n1", "bench")}).Session
	return m
}

// benchEntries encodes n entries that set keys at random.
func (m *machine) benchEntries(n int) [][]byte {
	entries := make([][]byte, n)
	for i := range entries {
		m.sequence++
		batch := &fsmpb.Batch{Session: m.session, Sequence: m.sequence, Low: m.sequence}
		for range benchBatch {
			batch.Commands = append(batch.Commands, benchSet(rand.IntN(benchNamespaces()), rand.IntN(benchKeys)))
		}
		entries[i] = encode(m.t, &fsmpb.Entry{Stamp: int64(m.sequence), Batches: []*fsmpb.Batch{batch}})
	}
	return entries
}

func (m *machine) benchApply(entry []byte) {
	m.index++
	applyTo(m.t, m.State, m.index, entry)
}

func BenchmarkApply(b *testing.B) {
	m := benchMachine(b)
	var entries [][]byte
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if len(entries) == 0 {
			b.StopTimer()
			entries = m.benchEntries(512)
			b.StartTimer()
		}
		m.benchApply(entries[0])
		entries = entries[1:]
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/command")
}

// BenchmarkFreeze measures how long readers and Apply are held up, and the
// batches that follow, which copy what the image shares: the first of them on
// average, and the slowest of all, in which pauses of the machine show too.
func BenchmarkFreeze(b *testing.B) {
	m := benchMachine(b)
	var pause, worstPause, next, worstBatch time.Duration
	b.ResetTimer()
	for range b.N {
		entries := m.benchEntries(4)
		start := time.Now()
		im := m.Freeze()
		took := time.Since(start)
		pause, worstPause = pause+took, max(worstPause, took)
		for i, e := range entries {
			start := time.Now()
			m.benchApply(e)
			took := time.Since(start)
			if worstBatch = max(worstBatch, took); i == 0 {
				next += took
			}
		}
		runtime.KeepAlive(im)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(pause.Nanoseconds())/float64(b.N), "ns/pause")
	b.ReportMetric(float64(worstPause.Nanoseconds()), "ns/worst-pause")
	b.ReportMetric(float64(next.Nanoseconds())/float64(b.N), "ns/next-batch")
	b.ReportMetric(float64(worstBatch.Nanoseconds()), "ns/worst-batch")
}

func BenchmarkSave(b *testing.B) {
	im := benchMachine(b).Freeze()
	b.SetBytes(int64(len(benchImage())))
	for b.Loop() {
		if err := im.Save(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	image := benchImage()
	b.SetBytes(int64(len(image)))
	b.ReportAllocs()
	for b.Loop() {
		restored(b, image)
	}
}

// BenchmarkMemory tells what a key takes over its value.
func BenchmarkMemory(b *testing.B) {
	image := benchImage()
	var perKey float64
	for range b.N {
		before := heap()
		s := restored(b, image)
		s.history = history{} // which has limits of its own
		perKey = float64(heap()-before)/float64(s.keys.Len()) - benchValue
		runtime.KeepAlive(s)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perKey, "B/key")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go
	var st runtime.MemStats
	runtime.ReadMemStats(&st)
	return st.HeapAlloc
}

func BenchmarkList(b *testing.B) {
	m := benchMachine(b)
	b.ReportAllocs()
	for b.Loop() {
		if n := len(m.List(benchNS(rand.IntN(benchNamespaces())), Query{}).Entries); n != benchKeys {
			b.Fatalf("%d keys, want %d", n, benchKeys)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	m := benchMachine(b)
	key := fmt.Sprintf("key-%03d", 500)
	names := make([]string, benchNamespaces())
	for i := range names {
		names[i] = benchNS(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, _ := m.Get(names[rand.IntN(len(names))], key); !ok {
			b.Fatal("a key is missing")
		}
	}
}
