package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// snapshots is the library's store of snapshots, made to find damage in what a
// snapshot says about itself too. The library keeps a checksum of the state
// beside it, but none of the index, the term and the configuration: a flipped
// bit there could take a vote away, here and on every node it is sent to. So
// the state is preceded by a seal of these, which never leaves the node.
type snapshots struct {
	*raft.FileSnapshotStore
	dir     string
	ctx     context.Context // once it ends, none is read or written any further: a large one takes long
	damaged signal          // Raft met a damaged one
	watch   func() func()   // counts a call to the disk, until the function that it returns is called
	leftOut []string        // ids of those that were damaged when the process started

	mu     sync.Mutex
	newest uint64 // last entry of the newest that this process has finished
	before uint64 // newest, until then
	unread string // its id, until somebody opens it
}

// A snapshotSink refuses a snapshot that is older than one that came from the
// leader meanwhile: Raft would take that for its newest (hashicorp/raft issue
// 248) and no longer know which entry its log follows.
type snapshotSink struct {
	raft.SnapshotSink
	index uint64
	to    *snapshots
}

func (s *snapshotSink) Write(p []byte) (int, error) {
	if err := context.Cause(s.to.ctx); err != nil {
		return 0, err
	}
	defer s.to.watch()()
	return s.SnapshotSink.Write(p)
}

// Close finishes the snapshot, or removes it: not everyone who is told of an error
// cancels.
func (s *snapshotSink) Close() error {
	err := s.finish()
	if err != nil {
		err = errors.Join(err, s.Cancel())
	}
	return err
}

func (s *snapshotSink) finish() error {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	if s.index < s.to.newest {
		return fmt.Errorf("the snapshot ends with entry %d, and there is one that ends with %d", s.index, s.to.newest)
	}
	err := s.SnapshotSink.Close()
	if err == nil {
		s.to.before, s.to.newest, s.to.unread = s.to.newest, s.index, s.ID()
	}
	return err
}

// Cancel removes what was written. The library has the disk take all of it
// first, which lasts, and on a full disk leaves it there.
func (s *snapshotSink) Cancel() error {
	dir := filepath.Join(s.to.dir, s.ID()+unfinished)
	_ = os.Truncate(filepath.Join(dir, snapshotState), 0) // for speed
	return errors.Join(s.SnapshotSink.Cancel(), os.RemoveAll(dir))
}

// A snapshotReader is a snapshot that is being read.
type snapshotReader struct {
	io.ReadCloser
	from *snapshots
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.from.ctx); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

const (
	sealBytes = sha256.Size

	// The library's names.
	unfinished    = ".tmp" // the end of a directory's
	snapshotState = "state.bin"
	snapshotMeta  = "meta.json"
)

func openSnapshots(ctx context.Context, cfg *Config) (*snapshots, error) {
	files, err := raft.NewFileSnapshotStoreWithLogger(cfg.DataDir, snapshotsKept, newRaftLogger(cfg.Logger).Named("snapshot"))
	if err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	s := &snapshots{
		FileSnapshotStore: files, dir: filepath.Join(cfg.DataDir, snapshotDir), ctx: ctx, damaged: make(signal, 1),
		watch: func() func() { return func() {} },
	}
	if err := s.removeUnfinished(); err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	return s, nil
}

// removeUnfinished removes what a process had not written to its end when it
// died: nobody else does.
func (s *snapshots) removeUnfinished() error {
	entries, err := os.ReadDir(s.dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinished) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		}
	}
	return err
}

// List leaves out what was damaged when the process started: Raft would refuse to
// start where there are such alone, though the log makes up for them.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	list, err := s.FileSnapshotStore.List()
	return slices.DeleteFunc(list, func(m *raft.SnapshotMeta) bool { return slices.Contains(s.leftOut, m.ID) }), err
}

// Create begins a snapshot. Raft's main goroutine may wait for it, and for each write:
// on a disk that hangs, nothing else would come to the log, which tells. What ends a
// snapshot is left out: the disk may take long to have all of a large one.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	end := s.watch()
	file, err := s.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	end()
	if err != nil {
		return nil, err
	}
	sink := &snapshotSink{file, index, s}
	meta := &raft.SnapshotMeta{
		Version: version, ID: sink.ID(), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}
	if _, err := sink.Write(seal(meta)); err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return sink, nil
}

// Open reads a snapshot to its end, and returns it only if it is whole. Once the
// node closes it returns at once, with the cause.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	type whole struct {
		meta *raft.SnapshotMeta
		io.ReadCloser
		err error
	}
	if err := context.Cause(s.ctx); err != nil {
		return nil, nil, err
	}
	opened := make(chan whole)
	go func() {
		meta, r, err := s.open(id)
		select {
		case opened <- whole{meta, r, err}:
		case <-s.ctx.Done():
			if err == nil {
				r.Close()
			}
		}
	}()
	select {
	case w := <-opened:
		return w.meta, w.ReadCloser, w.err
	case <-s.ctx.Done():
		return nil, nil, context.Cause(s.ctx)
	}
}

func (s *snapshots) open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, r, err := s.FileSnapshotStore.Open(id)
	if err == nil {
		err = errors.Join(checkSeal(id, meta, r), s.checkSize(id, meta))
		if err != nil {
			r.Close()
		}
	}
	if err != nil {
		s.opened(id, false)
		s.damaged.signal()
		return nil, nil, fmt.Errorf("snapshot %s is damaged: %w", id, err)
	}
	s.opened(id, true)
	meta.Size -= sealBytes
	return meta, &snapshotReader{r, s}, nil
}

// opened notes whether the snapshot that was finished last could be read, which
// is how Raft takes one that was sent. If not, Raft may be sent an older one.
func (s *snapshots) opened(id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.unread {
		return
	}
	s.unread = ""
	if !ok {
		s.newest = s.before
	}
}

// checkSeal reads the seal and compares it.
func checkSeal(id string, meta *raft.SnapshotMeta, r io.Reader) error {
	sum := make([]byte, sealBytes)
	_, err := io.ReadFull(r, sum)
	if err == nil && (meta.ID != id || !bytes.Equal(sum, seal(meta))) {
		err = errors.New("its description is not what was sealed")
	}
	return err
}

// checkSize compares what is told to who is sent the snapshot, and who refuses it
// if other bytes come.
func (s *snapshots) checkSize(id string, meta *raft.SnapshotMeta) error {
	info, err := os.Stat(filepath.Join(s.dir, id, snapshotState))
	if err == nil && info.Size() != meta.Size {
		err = fmt.Errorf("its description tells of %d bytes, and there are %d", meta.Size, info.Size())
	}
	return err
}

// seal sums up what meta says, but for checksum and size, which the state proves,
// and what older libraries read.
func seal(meta *raft.SnapshotMeta) []byte {
	text, err := json.Marshal(&raft.SnapshotMeta{
		Version: meta.Version, ID: meta.ID, Index: meta.Index, Term: meta.Term,
		Configuration: meta.Configuration, ConfigurationIndex: meta.ConfigurationIndex,
	})
	if err != nil {
		panic("cluster: a snapshot's description does not encode: " + err.Error()) // strings and numbers
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// check returns nil if the snapshot is whole.
func (s *snapshots) check(id string) error {
	_, r, err := s.Open(id)
	if err != nil {
		return err
	}
	return r.Close()
}

// ids returns all snapshots, also those that the library does not list because it
// cannot read their description.
func (s *snapshots) ids() (ids []string, err error) {
	entries, err := os.ReadDir(s.dir)
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), unfinished) {
			ids = append(ids, e.Name())
		}
	}
	return ids, err
}

// describable returns why a description cannot be opened for now: List would leave
// that snapshot out.
func (s *snapshots) describable() error {
	ids, err := s.ids()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, id := range ids {
		f, err := os.Open(filepath.Join(s.dir, id, snapshotMeta))
		if isPassing(err) {
			return err
		}
		if err == nil {
			f.Close()
		}
	}
	return err
}

// findDamaged reads all snapshots.
func (s *snapshots) findDamaged() (ids []string, damage error) {
	all, err := s.ids()
	if err != nil {
		return nil, err
	}
	for _, id := range all {
		err := s.check(id)
		if _, gone := os.Stat(filepath.Join(s.dir, id)); err != nil && gone == nil {
			ids, damage = append(ids, id), errors.Join(damage, err)
		}
	}
	return ids, damage
}

// replacePause follows the first attempt to replace a damaged snapshot that failed.
// The next pauses are twice as long each, up to longestReplacePause: every attempt
// reads all snapshots, and none can succeed for as long as there is no majority or no
// room on the disk.
const (
	replacePause        = time.Second
	longestReplacePause = time.Minute
)

// scrubSnapshots reads the snapshots from time to time, and when Raft met a
// damaged one, and replaces what is damaged: the state that it was taken from
// is in memory. Until then Raft sends none and cuts no log for it.
func (n *Node) scrubSnapshots(ctx context.Context) {
	ticker := time.NewTicker(n.cfg.Tuning.SnapshotScrub)
	defer ticker.Stop()
	pause := replacePause
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.snapshots.damaged:
		case <-ticker.C:
		}
		if err := n.replaceDamaged(); err != nil {
			n.cfg.Logger.Error("a damaged snapshot is not replaced yet", "err", err)
			sleep(ctx, min(pause, n.cfg.Tuning.SnapshotScrub))
			pause = min(2*pause, longestReplacePause)
			n.snapshots.damaged.signal()
			continue
		}
		pause = replacePause
	}
}

// replaceDamaged takes a new snapshot and then removes those that are damaged.
func (n *Node) replaceDamaged() error {
	ids, damage := n.snapshots.findDamaged()
	if damage == nil || n.ctx.Err() != nil {
		return nil
	}
	n.cfg.Logger.Error("a snapshot is damaged; a new one takes its place", "err", damage)
	if err := n.raft.Snapshot().Error(); err != nil {
		return err
	}
	for _, id := range ids {
		if err := os.RemoveAll(filepath.Join(n.snapshots.dir, id)); err != nil {
			return err
		}
	}
	select {
	case <-n.snapshots.damaged: // raised by this look itself
	default:
	}
	return nil
}
