// Package leaktest fails tests that leave goroutines behind.
package leaktest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience is how long goroutines may take to end.
const patience = 30 * time.Second

// Main is for TestMain: it runs the package's tests, and exits with 1 if
// goroutines outlive them. (A fuzzer leaves one of its own.)
func Main(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		if left := left(before, patience); left != "" && code == 0 {
			fmt.Fprintln(os.Stderr, left)
			code = 1
		}
	}
	os.Exit(code)
}

// Check fails the test if goroutines outlive it. It must be called before
// anything that the test cleans up, and in no parallel test.
func Check(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		if left := left(before, patience); left != "" {
			t.Error(left)
		}
	})
}

// left waits until there are no more than before, or returns which there are.
func left(before int, patience time.Duration) string {
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			return fmt.Sprintf("goroutines left behind, there were %d:\n%s", before, stacks[:runtime.Stack(stacks, true)])
		}
	}
	return ""
}
