package cluster

import (
	"container/heap"
	"context"
	"sync"
)

// A watermark is a number that only grows and that many can wait for.
type watermark struct {
	mu      sync.Mutex
	value   uint64
	waiters waiters
}

type waiter struct {
	value   uint64
	reached chan struct{} // closed when the watermark gets there
	index   int           // in the heap; -1: not there
}

// advance raises the value to v, unless it is there already, and wakes those
// who wait for no more than that.
func (w *watermark) advance(v uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.value = max(w.value, v)
	for len(w.waiters) > 0 && w.waiters[0].value <= w.value {
		close(heap.Pop(&w.waiters).(*waiter).reached)
	}
}

// get returns the value.
func (w *watermark) get() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.value
}

// wait returns nil once the value is at least v, or ctx's cause.
func (w *watermark) wait(ctx context.Context, v uint64) error {
	w.mu.Lock()
	if w.value >= v {
		w.mu.Unlock()
		return nil
	}
	me := &waiter{value: v, reached: make(chan struct{})}
	heap.Push(&w.waiters, me)
	w.mu.Unlock()

	select {
	case <-me.reached:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.index < 0 {
		return nil
	}
	heap.Remove(&w.waiters, me.index)
	return context.Cause(ctx)
}

// waiters is a heap, the lowest value first.
type waiters []*waiter

func (h waiters) Len() int           { return len(h) }
func (h waiters) Less(i, j int) bool { return h[i].value < h[j].value }
func (h waiters) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *waiters) Push(x any) {
	w := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}
func (h *waiters) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.index = -1
	return w
}
