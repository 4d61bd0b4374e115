package logstore

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// FileName is the name of the store's file in its directory.
const FileName = "raft.db"

// Errors of a store that has stopped; other errors come from below.
var (
	ErrClosed  = errors.New("the log is closed")
	ErrStalled = errors.New("the disk hangs")
)

// Config says how a store runs. Dir, Logger and Fatal are required; zero
// fields take the defaults given.
type Config struct {
	Dir    string // must exist, and be locked against other processes
	Logger *slog.Logger

	// Existing says that something was stored before: a file in which nothing
	// ever was is then damaged, for a node that forgot its vote would vote twice.
	Existing bool

	// Fatal is called once, on a goroutine of its own, when the store has
	// failed while open. The process should end: Raft itself would go on with
	// its memory and its disk in disagreement.
	Fatal func(error)

	MaxCacheBytes int64         // of the newest entries, kept in memory; default 64 MiB
	StallTimeout  time.Duration // how long a write or read may take; default 5 s
	ScrubRate     int64         // bytes a second that are read again; default 2 MiB; negative: none

	// Below LowWater bytes that can still be written the store is full, above
	// HighWater no longer. Defaults: a tenth of the file system but at most
	// 256 MiB, and 1.5 times that.
	LowWater, HighWater uint64

	// BeforeWrite runs ahead of every transaction, in its place: while it
	// blocks the disk hangs, and its error is the disk's. For tests of faults.
	BeforeWrite func() error
}

func (c *Config) setDefaults() error {
	if c.Dir == "" || c.Logger == nil || c.Fatal == nil {
		return errors.New("directory, logger and the fatal hook must be given")
	}
	c.MaxCacheBytes = cmp.Or(c.MaxCacheBytes, 64<<20)
	c.StallTimeout = cmp.Or(c.StallTimeout, 5*time.Second)
	c.ScrubRate = cmp.Or(c.ScrubRate, 2<<20)
	if c.BeforeWrite == nil {
		c.BeforeWrite = func() error { return nil }
	}
	return nil
}

// Store is a raft.LogStore and a raft.StableStore. Its methods may be called by
// any number of goroutines.
type Store struct {
	cfg    Config
	path   string
	bolt   *raftboltdb.BoltStore
	space  *space
	calls  calls // what the disk is busy with
	others calls // that are not of the log
	stats  counters

	work chan func() error // to the goroutine that writes
	done chan error        // and back

	turn  chan struct{} // held by who writes; guards the fields below
	tx    uint64        // the newest transaction
	head  uint64        // the newest that wrote the head
	state uint64        // the newest that wrote the state; 0: none
	steps uint64        // deletions still due, a transaction each

	mu      sync.RWMutex // guards the fields below; to change them takes turn, too
	extent  span
	cache   cache
	ballot  ballot
	pending uint64 // LastVoteTerm that waits for its LastVoteCand

	opened  atomic.Bool   // from here on an error is fatal
	down    chan struct{} // closed once nothing works any more
	stop    sync.Once
	failure error // why; to be read after down
	wg      sync.WaitGroup
	closing sync.Once
	closed  error
}

var (
	_ raft.LogStore    = (*Store)(nil)
	_ raft.StableStore = (*Store)(nil)
)

// Open opens the store in cfg.Dir, which it makes if there is none, after it
// has read and checked all of it: one to three seconds for a GiB. From then on it
// is existing. ErrCorrupt if the file is damaged; ErrForeign if raft-boltdb alone
// wrote it.
func Open(cfg Config) (*Store, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	path, start := filepath.Join(cfg.Dir, FileName), time.Now()
	found, err := verifyFile(path)
	if err == nil && found.fresh && cfg.Existing {
		err = corrupt("nothing is left of it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &Store{
		cfg: cfg, path: path,
		turn: make(chan struct{}, 1), work: make(chan func() error), done: make(chan error, 1), down: make(chan struct{}),
		extent: found.head.extent, cache: cache{max: cfg.MaxCacheBytes}, ballot: found.state.ballot,
		state: found.state.tx,
	}
	if err := s.open(found); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), s.Close())
	}
	cfg.Logger.Info("log read", "first", s.extent.first, "last", s.extent.last, "bytes", found.bytes, "took", time.Since(start))
	return s, nil
}

func (s *Store) open(found contents) (err error) {
	if err := guarded(s.openBolt); err != nil {
		return err
	}
	if found.fresh {
		if err := syncDir(s.cfg.Dir); err != nil {
			return err
		}
	}
	if s.tx, err = readTx(s.path); err != nil {
		return err
	}
	s.space = newSpace(s.cfg, s.reusable)
	s.wg.Go(s.write)
	s.wg.Go(s.watchStalls)
	if err := s.change(nil, found.waste, func(old span) (span, error) { return old, nil }); err != nil {
		return err
	}
	s.opened.Store(true)
	s.wg.Go(func() { s.space.watch(s.down) })
	s.wg.Go(s.scrub)
	return nil
}

func (s *Store) openBolt() (err error) {
	s.bolt, err = raftboltdb.New(raftboltdb.Options{
		Path: s.path,
		BoltOptions: &bbolt.Options{
			Timeout: time.Second,
			// With the freelist on disk an append after a burst writes it
			// whole, megabytes; without, it is rebuilt when the file is opened.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	return err
}

// syncDir makes the names in dir safe from a power failure.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reusable returns the bytes inside the file that new entries can take.
func (s *Store) reusable() uint64 {
	st := s.bolt.Stats()
	return uint64(st.FreePageN+st.PendingPageN) * uint64(os.Getpagesize())
}

// Close ends the store; calls under way return an error. It waits for a write
// under way, but not for one that hangs: ErrStalled, and the file stays open.
func (s *Store) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Store) close() error {
	s.fail(ErrClosed)
	closed := make(chan error, 1)
	go func() {
		s.wg.Wait()
		if s.bolt == nil {
			closed <- nil
			return
		}
		closed <- guarded(s.bolt.Close)
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(s.cfg.StallTimeout):
		return fmt.Errorf("close %s: %w", s.path, ErrStalled)
	}
}

// Err returns why the store has stopped, nil if it runs.
func (s *Store) Err() error {
	select {
	case <-s.down:
		return s.failure
	default:
		return nil
	}
}

// fail stops the store for good and returns why it has stopped, which is err
// if nothing came before.
func (s *Store) fail(err error) error {
	s.stop.Do(func() {
		s.failure = err
		close(s.down)
		if s.opened.Load() && err != ErrClosed {
			s.cfg.Logger.Error("the log has failed", "path", s.path, "err", err)
			go s.cfg.Fatal(err)
		}
	})
	return s.failure
}

// acquire takes the turn to write.
func (s *Store) acquire() error {
	select {
	case s.turn <- struct{}{}:
		return s.Err()
	case <-s.down:
		return s.failure
	}
}

// release passes the turn to who has waited longest.
func (s *Store) release() { <-s.turn }

// transact runs f, which is one transaction of bolt, on the goroutine of
// [Store.write]: if the disk hangs, the caller need not. Its error stops the
// store. The caller must hold the turn.
func (s *Store) transact(f func() error) error {
	select {
	case s.work <- f:
	case <-s.down:
		return s.failure
	}
	select {
	case err := <-s.done:
		if err != nil {
			return s.fail(fmt.Errorf("write %s: %w", s.path, err))
		}
	case <-s.down:
		return s.failure
	}
	s.tx++
	return s.Err()
}

func (s *Store) write() {
	for {
		select {
		case f := <-s.work:
			s.done <- s.timed(f)
		case <-s.down:
			return
		}
	}
}

func (s *Store) timed(f func() error) error {
	call := s.calls.begin()
	defer s.calls.end(call)
	if err := s.cfg.BeforeWrite(); err != nil {
		return err
	}
	err := guarded(f)
	s.stats.writes.Add(1)
	return err
}

// guarded runs f and turns a panic into an error: bolt panics, or reads memory
// that is not there, when a page was damaged behind its back.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = corrupt("%v", p)
		}
	}()
	return f()
}
