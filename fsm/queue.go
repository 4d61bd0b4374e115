package fsm

import "slices"

const chunkSize = 256

// A queue is a FIFO of pointers whose copies are cheap: a copy shares the
// chunks. Pushing never touches what a copy can see; popping copies a shared
// chunk before it lets go of an element.
type queue[T any] struct {
	chunks []*chunk[T]
	first  int    // position of the front in chunks[0]
	n      int    // elements
	epoch  uint64 // raised by copy; chunks made before are shared
}

type chunk[T any] struct {
	epoch uint64
	items [chunkSize]*T
}

func (q *queue[T]) len() int { return q.n }

func (q *queue[T]) at(i int) *T {
	i += q.first
	return q.chunks[i/chunkSize].items[i%chunkSize]
}

func (q *queue[T]) push(v *T) {
	end := q.first + q.n
	if end == len(q.chunks)*chunkSize {
		q.chunks = append(q.chunks, &chunk[T]{epoch: q.epoch})
	}
	q.chunks[end/chunkSize].items[end%chunkSize] = v
	q.n++
}

// pop removes the front, which must exist.
func (q *queue[T]) pop() *T {
	c := q.chunks[0]
	if c.epoch != q.epoch {
		c = &chunk[T]{epoch: q.epoch, items: c.items}
		q.chunks[0] = c
	}
	v := c.items[q.first]
	c.items[q.first] = nil
	q.first++
	q.n--
	if q.first == chunkSize {
		q.chunks = slices.Delete(q.chunks, 0, 1)
		q.first = 0
	}
	return v
}

// copy returns a queue that later pushes and pops do not change.
func (q *queue[T]) copy() queue[T] {
	c := *q
	c.chunks = slices.Clone(q.chunks)
	q.epoch++
	return c
}
