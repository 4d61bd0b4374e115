package httpapi

import "sync/atomic"

// DefaultBodyBudget is how much memory the bodies of all requests together
// may take unless configured otherwise.
const DefaultBodyBudget = 256 << 20

// A budget bounds a number of bytes that many requests share.
type budget struct {
	limit int64
	used  atomic.Int64
}

// reserve takes n bytes if as many are left. 0 bytes always are.
func (b *budget) reserve(n int64) bool {
	for {
		used := b.used.Load()
		if n > b.limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) release(n int64) { b.used.Add(-n) }
