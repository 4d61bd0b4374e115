package logstore

import (
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

const (
	spaceInterval = 250 * time.Millisecond // between two looks at the free space
	spaceBytes    = 256 << 10              // or as many bytes written
)

// space knows whether the disk is nearly full.
//
// Room inside the file counts, for the file never shrinks: a log that has filled
// a disk and was then cut could never be written again otherwise. But it comes
// in pieces, and a large entry needs one of its size, so a quarter of the low
// water must be free outside in any case.
type space struct {
	path      string
	low, high uint64 // 0: by the size of the file system
	reusable  func() uint64
	statfs    func(path string) (free, size uint64, err error)
	logger    *slog.Logger

	reserve  atomic.Uint64 // see Store.Reserve
	full     atomic.Bool
	free     atomic.Uint64 // on the file system
	size     atomic.Uint64 // of the file system
	file     atomic.Int64  // bytes that the file takes on it
	inFile   atomic.Uint64 // free ones among those
	unlooked atomic.Int64  // bytes written since the last look
	look     chan struct{} // asks for one
}

func newSpace(cfg Config, reusable func() uint64) *space {
	sp := &space{
		path: filepath.Join(cfg.Dir, FileName), low: cfg.LowWater, high: cfg.HighWater,
		reusable: reusable, statfs: statfs, logger: cfg.Logger, look: make(chan struct{}, 1),
	}
	sp.check()
	return sp
}

// statfs returns the bytes that path's file system has for this process and
// its size.
func statfs(path string) (free, size uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	block := uint64(st.Bsize)
	return uint64(st.Bavail) * block, st.Blocks * block, nil
}

// Full reports that the disk is nearly full. The store itself goes on writing;
// the node should refuse what makes its state grow, and cut the log.
func (s *Store) Full() bool { return s.space.full.Load() }

// Reserve has the store count as full while less than n bytes beside the file
// are free: the snapshots that let the log be cut need them.
func (s *Store) Reserve(n uint64) { s.space.reserve.Store(n) }

// watch looks at the free space until down. It has a goroutine of its own: on a
// disk that hangs, this may hang too.
func (sp *space) watch(down <-chan struct{}) {
	ticker := time.NewTicker(spaceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-sp.look:
		case <-down:
			return
		}
		sp.check()
	}
}

// wrote counts what was appended.
func (sp *space) wrote(logs []*raft.Log) {
	n := int64(0)
	for _, l := range logs {
		n += sizeOf(l)
	}
	if sp.unlooked.Add(n) < spaceBytes {
		return
	}
	select {
	case sp.look <- struct{}{}:
	default:
	}
}

func (sp *space) check() {
	sp.unlooked.Store(0)
	free, size, err := sp.statfs(sp.path)
	if err != nil {
		sp.logger.Warn("free space is unknown", "path", sp.path, "err", err)
		return
	}
	inFile := sp.reusable()
	sp.free.Store(free)
	sp.size.Store(size)
	sp.inFile.Store(inFile)
	var st syscall.Stat_t
	if syscall.Stat(sp.path, &st) == nil {
		sp.file.Store(st.Blocks * 512)
	}
	sp.judge(free, inFile, size)
}

func (sp *space) judge(free, inFile, size uint64) {
	low, high := sp.low, sp.high
	if low == 0 {
		low = min(256<<20, size/10)
	}
	high = max(high, low+low/2)
	was := sp.full.Load()
	mark := low
	if was {
		mark = high
	}
	full := free+inFile < mark || free < mark/4+sp.reserve.Load()
	if full == was {
		return
	}
	sp.full.Store(full)
	if full {
		sp.logger.Warn("the disk is nearly full", "path", sp.path, "free", free, "inFile", inFile, "low", low)
	} else {
		sp.logger.Info("the disk has room again", "path", sp.path, "free", free, "inFile", inFile)
	}
}
