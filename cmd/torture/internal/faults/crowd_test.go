package faults

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// Ensure a connection whose end is seen late, as by a tester that waits for a
// processor, is not taken for an open one.
func TestStillOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			theirs.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n"))
			time.Sleep(openPatience / 10)
			theirs.Close()
		}()
		open, other := net.Pipe()
		defer open.Close()
		defer other.Close()
		if n := stillOpen([]net.Conn{ours, open}, time.Now()); n != 1 {
			t.Errorf("%d connections are open, want 1", n)
		}
	})
}

// Ensure a stream through a proxy is let go of when it is silent or ends, and is
// heard once it says more than where it begins.
func TestProxyOf(t *testing.T) {
	for _, tt := range []struct {
		name    string
		every   time.Duration // between what the node says; 0: nothing behind its begin
		ends    time.Duration // by the node; 0: never
		hungUp  time.Duration // by the client; 0: never
		want    error
		ended   time.Duration
		isHeard bool
	}{
		{"silent", 0, 0, 0, os.ErrDeadlineExceeded, 2*proxyHold + proxyIdle, false},
		{"ended by the node", 0, 5 * time.Second, 0, io.EOF, 5 * time.Second, false},
		{"kept alive", 15 * time.Second, 0, time.Hour, io.ErrClosedPipe, time.Hour, true}, // as a pipe has it that was hung up
		{"kept alive, then ended", 15 * time.Second, 40 * time.Second, 0, io.EOF, 45*time.Second + 2*proxyHold, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				begin, heard, done := time.Now(), false, make(chan struct{})
				go func() {
					defer close(done)
					theirs.Write([]byte("id: 1\n\n"))
					for tt.every > 0 && (tt.ends == 0 || time.Since(begin) < tt.ends) {
						time.Sleep(tt.every)
						if _, err := theirs.Write([]byte(": keep-alive\n\n")); err != nil {
							return
						}
					}
					if tt.ends > 0 {
						time.Sleep(time.Until(begin.Add(tt.ends)))
						theirs.Close()
					}
				}()
				if tt.hungUp > 0 {
					time.AfterFunc(tt.hungUp, func() { ours.Close() })
				}
				err := proxyOf(ours, proxyIdle, func() { heard = true })
				took := time.Since(begin)
				if !errors.Is(err, tt.want) || took.Round(time.Second) != tt.ended.Round(time.Second) || heard != tt.isHeard {
					t.Errorf("%v after %v, heard: %v; want %v after %v, %v", err, took, heard, tt.want, tt.ended, tt.isHeard)
				}
				<-done
			})
		})
	}
}

// Ensure streams that end break a promise if nothing else hurts the cluster, and
// silent ones always.
func TestKept(t *testing.T) {
	for _, tt := range []struct {
		name  string
		end   error
		alone bool
		want  bool
	}{
		{"hung up", nil, true, true},
		{"ended", io.EOF, true, false},
		{"ended beside another fault", io.EOF, false, true},
		{"silent", os.ErrDeadlineExceeded, true, false},
		{"silent beside another fault", os.ErrDeadlineExceeded, false, false},
	} {
		s := Scene{Alone: tt.alone, Slack: 1}
		if err := s.kept([]error{nil, tt.end}); (err == nil) != tt.want || err != nil && !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Ensure only streams that a node grants count, and none is no success.
func TestGranted(t *testing.T) {
	answering := func(text string) net.Conn {
		ours, theirs := net.Pipe()
		go func() {
			theirs.Write([]byte(text))
			theirs.Close()
		}()
		return ours
	}
	conns, err := granted([]net.Conn{answering("HTTP/1.1 429 Too Many Requests\r\n"), answering("HTTP/1.1 200 OK\r\n"), answering("")})
	if len(conns) != 1 || err != nil {
		t.Fatalf("%d streams, %v, want 1", len(conns), err)
	}
	if rest, err := io.ReadAll(conns[0]); string(rest) != " OK\r\n" || err != nil {
		t.Errorf("left to read %q, %v", rest, err)
	}
	if conns, err := granted([]net.Conn{answering("HTTP/1.1 503 ")}); len(conns) != 0 || err == nil {
		t.Errorf("%d streams, %v, of one that was refused", len(conns), err)
	}
}
