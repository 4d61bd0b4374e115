package fsm

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A queue is like a slice, and its copies stay as they are.
func TestQueue(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, rng *rand.Rand) {
		var q queue[int]
		var plain []int
		type copied struct {
			queue queue[int]
			plain []int
		}
		var copies []copied
		grow := true
		for i := range 20 * chunkSize {
			if rng.IntN(chunkSize) == 0 {
				grow = !grow
			}
			switch {
			case rng.IntN(200) == 0:
				copies = append(copies, copied{q.copy(), slices.Clone(plain)})
			case len(plain) > 0 && rng.IntN(4) == 0 == grow:
				if got := *q.pop(); got != plain[0] {
					t.Fatalf("popped %d, want %d", got, plain[0])
				}
				plain = plain[1:]
			default:
				q.push(&i)
				plain = append(plain, i)
			}
		}
		sameQueue(t, &q, plain)
		for _, c := range copies {
			sameQueue(t, &c.queue, c.plain)
		}
	})
}

func sameQueue(t *testing.T, q *queue[int], want []int) {
	t.Helper()
	if q.len() != len(want) {
		t.Fatalf("queue has %d elements, want %d", q.len(), len(want))
	}
	for i, n := range want {
		if got := *q.at(i); got != n {
			t.Fatalf("element %d is %d, want %d", i, got, n)
		}
	}
}
