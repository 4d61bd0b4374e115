package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkDelivery shows how long an event takes from before its write until
// each of 1,000 subscribers to one key has read it, at 50 writes/s. The
// clients run in the same process.
//
//	go test -run - -bench Delivery -benchtime 250x ./httpapi
func BenchmarkDelivery(b *testing.B) {
	const subscribers, every = 1000, time.Second / 50
	x := newAPI(b)
	addr := x.serve()
	sent := make([]time.Time, b.N+1)
	took := make([][]time.Duration, subscribers)
	var done sync.WaitGroup
	for i := range took {
		r := open(b, addr, streamPath)
		r.blocks(opened(0))
		took[i] = make([]time.Duration, 0, b.N)
		done.Go(func() {
			for len(took[i]) < b.N {
				revision := readID(b, r.buf)
				took[i] = append(took[i], time.Since(sent[revision]))
			}
		})
	}
	value := `{"step":"` + string(bytes.Repeat([]byte("x"), 200)) + `"}`
	b.ResetTimer()
	for i := range b.N {
		time.Sleep(every)
		sent[i+1] = time.Now()
		x.set("wf", "k", value)
	}
	done.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99")
	b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "ms-max")
}

// readID returns the id of the next event and skips the rest of it.
func readID(tb testing.TB, r *bufio.Reader) (id uint64) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			tb.Error(err)
			return 0
		}
		if after, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			id, _ = strconv.ParseUint(string(after[:len(after)-1]), 10, 64)
		}
		if bytes.HasPrefix(line, []byte("data: ")) {
			_, _ = r.Discard(1)
			return id
		}
	}
}

// BenchmarkFanOut shows how many events a second reach 1,000 subscribers when
// writes come as fast as they are delivered.
func BenchmarkFanOut(b *testing.B) {
	const subscribers = 1000
	x := newAPI(b)
	addr := x.serve()
	for range subscribers {
		r := open(b, addr, streamPath)
		go func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := r.conn.Read(buf); err != nil {
					return
				}
			}
		}()
		_ = r.conn.SetReadDeadline(time.Time{})
	}
	b.ResetTimer()
	for i := range b.N {
		x.set("wf", "k", strconv.Itoa(i))
		for x.server.streams.Stats().Revision < uint64(i+1) {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(subscribers*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkIdleStreams shows what an idle stream costs in memory. The clients
// are bare descriptors, which cost this process nothing but those.
//
//	go test -run - -bench IdleStreams -benchtime 5000x ./httpapi
func BenchmarkIdleStreams(b *testing.B) {
	x := newAPI(b)
	addr := x.serve()
	open(b, addr, streamPath) // what the first costs is not meant
	before := memory()
	b.ResetTimer()
	for i := range b.N {
		fd := dialBare(b, addr, fmt.Sprintf("/v1/state/workflow-%d/key-%d/stream", i%50, i))
		defer syscall.Close(fd)
	}
	eventually(b, "all are level", func() bool {
		stats := x.server.streams.Stats()
		return stats.Streams == b.N+1 && stats.Behind == 0
	})
	b.StopTimer()
	after := memory()
	b.ReportMetric(float64(after.heap-before.heap)/float64(b.N), "heap-B/stream")
	b.ReportMetric(float64(after.stack-before.stack)/float64(b.N), "stack-B/stream")
	b.ReportMetric(float64(after.other-before.other)/float64(b.N), "other-B/stream")
	b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
}

type memoryUse struct{ heap, stack, other int64 }

func memory() memoryUse {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memoryUse{int64(m.HeapAlloc), int64(m.StackInuse), int64(m.OtherSys + m.MSpanInuse + m.GCSys)}
}

// dialBare opens a stream and leaves it alone.
func dialBare(tb testing.TB, addr, path string) (fd int) {
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	if fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
		tb.Fatal(err)
	}
	if _, err := syscall.Write(fd, []byte("GET "+path+" HTTP/1.1\r\nHost: "+addr+"\r\nUser-Agent: bench\r\nAccept: text/event-stream\r\n\r\n")); err != nil {
		tb.Fatal(err)
	}
	buf := make([]byte, 4096)
	if n, err := syscall.Read(fd, buf); n <= 0 || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
		tb.Fatal(string(buf), err)
	}
	return fd
}
