package main

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Ensure a leader that was paused does not answer from the past: reads wait at
// it while another leads and acknowledges a write; once it goes on, every one
// of them that is answered has that write.
func TestNoStaleReadAfterPause(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	answered, refused := 0, 0
	for round := range failoverRounds() {
		old := c.leader(t)
		paused, others := c.nodes[old], append(append([]*processNode{}, c.nodes[:old]...), c.nodes[old+1:]...)
		if _, err := setInt(paused.url, "pause", "k", -1); err != nil {
			t.Fatal(err)
		}
		paused.cmd.Process.Signal(syscall.SIGSTOP)
		if _, err := setInt(others[round%2].url, "pause", "k", round); err != nil {
			t.Fatal(err)
		}
		const reads = 8
		got := make(chan error, reads)
		var wg sync.WaitGroup
		for range reads {
			wg.Go(func() {
				value, err := getInt(paused.url+"/v1/state/pause/k", "")
				if err == nil && value != round {
					t.Errorf("round %d: a stale read: %d", round, value)
				}
				got <- err
			})
		}
		time.Sleep(20 * time.Millisecond) // for the reads to lie in the paused node's sockets
		paused.cmd.Process.Signal(syscall.SIGCONT)
		wg.Wait()
		close(got)
		for err := range got {
			if err == nil {
				answered++
			} else {
				refused++
			}
		}
		paused.waitReady(t)
	}
	t.Logf("%d reads at a leader that was paused: %d answered, none stale; %d refused", answered+refused, answered, refused)
	if answered == 0 {
		t.Error("no read was answered at all")
	}
	http.DefaultClient.CloseIdleConnections()
}
