package logstore

import "github.com/hashicorp/raft"

// cache holds the newest entries of the log, without a gap.
type cache struct {
	max     int64 // bytes
	bytes   int64
	entries []raft.Log
}

// entryOverhead is about what an entry takes beside its slices.
const entryOverhead = 128

func sizeOf(l *raft.Log) int64 { return int64(len(l.Data)+len(l.Extensions)) + entryOverhead }

// get returns the entry at index, nil if it is not there.
func (c *cache) get(index uint64) *raft.Log {
	if len(c.entries) == 0 || index < c.entries[0].Index || index-c.entries[0].Index >= uint64(len(c.entries)) {
		return nil
	}
	return &c.entries[index-c.entries[0].Index]
}

// add appends logs in the place of what they overlap.
func (c *cache) add(logs []*raft.Log) {
	if len(logs) == 0 {
		return
	}
	c.keep(span{1, logs[0].Index - 1})
	if n := len(c.entries); n > 0 && c.entries[n-1].Index+1 != logs[0].Index {
		c.keep(span{})
	}
	for _, l := range logs {
		c.entries = append(c.entries, *l)
		c.bytes += sizeOf(l)
	}
	for c.bytes > c.max {
		c.dropFirst()
	}
}

// keep drops the entries outside extent.
func (c *cache) keep(extent span) {
	for len(c.entries) > 0 && !extent.has(c.entries[len(c.entries)-1].Index) {
		c.dropLast()
	}
	for len(c.entries) > 0 && !extent.has(c.entries[0].Index) {
		c.dropFirst()
	}
}

func (c *cache) dropFirst() {
	c.bytes -= sizeOf(&c.entries[0])
	c.entries[0] = raft.Log{} // the array lives on
	c.entries = c.entries[1:]
}

func (c *cache) dropLast() {
	last := len(c.entries) - 1
	c.bytes -= sizeOf(&c.entries[last])
	c.entries[last] = raft.Log{}
	c.entries = c.entries[:last]
}
