package fsm

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// spreadImage is the snapshot of a thousand thousand keys (a tenth with
// -short) of benchValue bytes in that many namespaces, without a history.
func spreadImage(b *testing.B, namespaces int) []byte {
	b.Helper()
	keys := benchKeys * benchNamespaces()
	m := &machine{State: New(), t: b}
	m.session = m.entry(&fsmpb.Entry{Stamp: 1, OpenSession: opening("n1", "boot")}).Session
	limits(1, 1, 0)(m)
	const batch = 500
	for i := 0; i < keys; i += batch {
		var commands []*fsmpb.Command
		for k := i; k < i+batch; k++ {
			c := benchSet(0, 0)
			c.Namespace, c.Ops[0].Key = fmt.Sprintf("w\x00default\x00workflow-%06d", k%namespaces), fmt.Sprintf("key-%06d", k/namespaces)
			commands = append(commands, c)
		}
		m.runAll(commands...)
	}
	var out bytes.Buffer
	if err := m.Freeze().Save(&out); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// BenchmarkSpread tells whether it matters over how many namespaces keys are
// spread: for the memory of a key, value included, the pause of a snapshot and
// the time of a restore.
func BenchmarkSpread(b *testing.B) {
	for _, namespaces := range []int{1, 1000, 200_000} {
		b.Run(fmt.Sprint(namespaces), func(b *testing.B) {
			image := spreadImage(b, namespaces)
			b.ResetTimer()
			var perKey float64
			var restore, pause, worst time.Duration
			for range b.N {
				before := heap()
				begin := time.Now()
				s := restored(b, image)
				restore += time.Since(begin)
				perKey = float64(heap()-before) / float64(s.keys.Len())
				begin = time.Now()
				im := s.Freeze()
				took := time.Since(begin)
				pause, worst = pause+took, max(worst, took)
				runtime.KeepAlive(im)
				runtime.KeepAlive(s)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(perKey, "B/key")
			b.ReportMetric(float64(restore.Milliseconds())/float64(b.N), "ms/restore")
			b.ReportMetric(float64(pause.Nanoseconds())/float64(b.N), "ns/pause")
			b.ReportMetric(float64(worst.Nanoseconds()), "ns/worst-pause")
		})
	}
}
