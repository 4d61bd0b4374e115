package httpapi

import "sync/atomic"

// DefaultBodyBudget is how much memory the bodies of all requests together
// may take unless configured otherwise.
const DefaultBodyBudget = 256 << 20

// listBudget is how much memory the entries of all long lists that are being
// sent may take together, some three million: clients may be slow to read.
const listBudget = 512 << 20

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

// reserveOrAlone takes n bytes if as many are left, or any number if nobody else
// has some.
func (b *budget) reserveOrAlone(n int64) bool {
	return b.reserve(n) || b.used.CompareAndSwap(0, n)
}

func (b *budget) release(n int64) { b.used.Add(-n) }
