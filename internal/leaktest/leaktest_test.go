package leaktest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func linger(end <-chan struct{}) { <-end }

func TestLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	end := make(chan struct{})
	go linger(end)
	if told := left(before, 10*time.Millisecond); !strings.Contains(told, "leaktest.linger") {
		t.Errorf("with one that lingers: %q", told)
	}
	close(end)
	if told := left(before, patience); told != "" {
		t.Errorf("after its end: %q", told)
	}
}
