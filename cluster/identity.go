package cluster

import (
	"bytes"
	"encoding/hex"
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
	"syscall"

	"github.com/google/uuid"
)

// Files in the data directory. The lock file stays when the lock is released:
// removing it would let two processes lock two files of one name.
const (
	identityFile = "identity.json"
	identityTemp = "identity.json.tmp" // left behind by a crash; overwritten by the next change
	lockFile     = "LOCK"
)

// identityFormat is the newest format of identity.json that this build reads,
// and the one that it writes.
const identityFormat = 1

// identity is what a node must never forget, on disk before anyone is told of
// it: who it is, which cluster it belongs to, what it has promised. It owns the
// data directory from openIdentity to close. All methods may be called
// concurrently; after an error from one that writes, the disk may hold either
// the old or the new record.
type identity struct {
	dir  string
	lock *os.File // held by flock

	mu     sync.RWMutex // guards the fields below
	record identityRecord
	closed bool
}

type identityRecord struct {
	Format          int       `json:"format"`
	NodeID          string    `json:"nodeId"`    // UUID
	ClusterID       string    `json:"clusterId"` // hex; empty: belongs to none yet
	Name            string    `json:"name"`      // display name; empty until the node has started once
	Promised        []founder `json:"promised,omitempty"`
	PreparedVersion uint32    `json:"preparedVersion"`

	// Replaces is who the node was in the cluster that it must join again.
	Replaces *replaced `json:"replaces,omitempty"`
}

// replaced is a former identity of a node.
type replaced struct {
	NodeID    string `json:"nodeId"`
	ClusterID string `json:"clusterId"` // hex
}

// founder is one member of a set of nodes that founds a cluster.
type founder struct {
	NodeID string `json:"nodeId"`
	Raft   string `json:"raft"` // host:port
}

// openIdentity locks dir against other processes, and reads the identity in
// it or makes a new one if dir is empty or missing. It refuses a directory
// that holds other files but no identity: a node that lost its identity must
// not take up its old log under a new one.
func openIdentity(dir string) (*identity, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	id := &identity{dir: dir, lock: lock}
	if err := id.load(); err != nil {
		lock.Close()
		return nil, err
	}
	return id, nil
}

// makeDir makes dir and its missing parents, so that a power failure after it
// returns does not undo it. An existing dir is left as it is.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// lockDir returns the locked lock file of dir. The lock ends when the file is
// closed, which the kernel does for a process that dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory is not writable: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("data directory %s is in use by another process", dir)
	}
	return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
}

func (id *identity) load() (err error) {
	id.record, err = readIdentity(id.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return id.create()
	}
	return err
}

// StoredName returns the display name of the node whose data directory dir is;
// empty if dir is missing, or new.
func StoredName(dir string) (string, error) {
	r, err := readIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return r.Name, err
}

// readIdentity returns fs.ErrNotExist, wrapped, if dir holds no identity.
func readIdentity(dir string) (identityRecord, error) {
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return identityRecord{}, fmt.Errorf("read identity: %w", err)
	}
	r, err := parseIdentity(data)
	if err != nil {
		return identityRecord{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (id *identity) create() error {
	entries, err := os.ReadDir(id.dir)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	if i := slices.IndexFunc(entries, isForeign); i >= 0 {
		return fmt.Errorf("data directory %s holds %s but no %s: its identity is lost, or it belongs to another program",
			id.dir, entries[i].Name(), identityFile)
	}
	r := identityRecord{Format: identityFormat, NodeID: uuid.NewString()}
	if err := id.write(r); err != nil {
		return err
	}
	id.record = r
	return nil
}

// isForeign reports whether a file speaks against a directory's being new.
// Hidden files and the lost+found of a fresh volume do not.
func isForeign(e fs.DirEntry) bool {
	switch name := e.Name(); name {
	case lockFile, identityTemp, "lost+found":
		return false
	default:
		return !strings.HasPrefix(name, ".")
	}
}

// parseIdentity looks at the format first: a newer file is intact, and saying
// that it is damaged would invite someone to delete it.
func parseIdentity(data []byte) (identityRecord, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return identityRecord{}, fmt.Errorf("not an identity file: %w", err)
	}
	if head.Format > identityFormat {
		return identityRecord{}, fmt.Errorf("written by a newer version: format %d, this binary reads up to %d", head.Format, identityFormat)
	}
	var r identityRecord
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return identityRecord{}, fmt.Errorf("not an identity file: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return identityRecord{}, errors.New("not an identity file: data after the object")
	}
	return r, r.validate()
}

func (r identityRecord) validate() error {
	if r.Format < 1 {
		return fmt.Errorf("not an identity file: format is %d", r.Format)
	}
	if err := uuid.Validate(r.NodeID); err != nil {
		return fmt.Errorf("not an identity file: nodeId: %w", err)
	}
	if _, err := hex.DecodeString(r.ClusterID); err != nil {
		return fmt.Errorf("not an identity file: clusterId: %w", err)
	}
	if len(r.Promised) > 0 {
		if err := validateFounders(r.Promised); err != nil {
			return fmt.Errorf("not an identity file: promised: %w", err)
		}
	}
	return nil
}

// change writes what f makes of the record. Memory follows only what is known
// to be on disk.
func (id *identity) change(f func(*identityRecord)) error {
	if id.closed {
		return fmt.Errorf("write identity: %w", fs.ErrClosed)
	}
	r := id.record
	f(&r)
	if err := id.write(r); err != nil {
		return err
	}
	id.record = r
	return nil
}

// write replaces the file: whenever the machine stops, it holds the old
// record or the new one, whole.
func (id *identity) write(r identityRecord) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	temp := filepath.Join(id.dir, identityTemp)
	if err := writeSynced(temp, append(data, '\n')); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := os.Rename(temp, filepath.Join(id.dir, identityFile)); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := syncDir(id.dir); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// close gives the data directory up to other processes. It is idempotent.
func (id *identity) close() error {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.closed {
		return nil
	}
	id.closed = true
	return id.lock.Close()
}

func (id *identity) nodeID() string {
	id.mu.RLock()
	defer id.mu.RUnlock()
	return id.record.NodeID
}

// clusterID returns nil for a node that belongs to no cluster yet.
func (id *identity) clusterID() []byte {
	id.mu.RLock()
	defer id.mu.RUnlock()
	b, _ := hex.DecodeString(id.record.ClusterID) // valid: see validate and setClusterID
	if len(b) == 0 {
		return nil
	}
	return b
}

// setClusterID makes the node a member of that cluster for good. Setting the
// same id again is fine; another is refused.
func (id *identity) setClusterID(cluster []byte) error {
	if len(cluster) == 0 {
		return errors.New("a cluster id is not empty")
	}
	text := hex.EncodeToString(cluster)
	id.mu.Lock()
	defer id.mu.Unlock()
	switch id.record.ClusterID {
	case text:
		return nil
	case "":
		if r := id.record.Replaces; r != nil && r.ClusterID != text {
			return fmt.Errorf("this node belonged to cluster %s and cannot join %s", r.ClusterID, text)
		}
		return id.change(func(r *identityRecord) { r.ClusterID, r.Replaces = text, nil })
	default:
		return fmt.Errorf("this node belongs to cluster %s already, not to %s", id.record.ClusterID, text)
	}
}

// renew makes the node a new one, of no cluster yet, that remembers which
// member of which cluster it was. It founds none.
func (id *identity) renew() error {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.change(func(r *identityRecord) {
		if r.ClusterID != "" {
			r.Replaces = &replaced{NodeID: r.NodeID, ClusterID: r.ClusterID}
		}
		r.NodeID, r.ClusterID, r.Promised = uuid.NewString(), "", nil
	})
}

// replaces returns who the node was before it was renewed, until it has joined
// again; the zero value for a node that was not.
func (id *identity) replaces() replaced {
	id.mu.RLock()
	defer id.mu.RUnlock()
	if id.record.Replaces == nil {
		return replaced{}
	}
	return *id.record.Replaces
}

func (id *identity) name() string {
	id.mu.RLock()
	defer id.mu.RUnlock()
	return id.record.Name
}

// setName gives a new data directory its node's display name. Setting the same
// name again is fine; another is refused: it is how the directory of another
// node shows itself, which would serve that node's data under this one's name.
func (id *identity) setName(name string) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	switch id.record.Name {
	case name:
		return nil
	case "":
		return id.change(func(r *identityRecord) { r.Name = name })
	default:
		return fmt.Errorf("the data directory %s is that of node %q, not of %q; give --node-id %s, or this node's own directory",
			id.dir, id.record.Name, name, id.record.Name)
	}
}

// promise records that this node founds a cluster with exactly set, and with
// no other ever. It reports whether set is what the node has promised, now or
// before; the order of set does not matter.
func (id *identity) promise(set []founder) (bool, error) {
	set = slices.SortedFunc(slices.Values(set), func(a, b founder) int { return strings.Compare(a.NodeID, b.NodeID) })
	if err := validateFounders(set); err != nil {
		return false, err
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	if len(id.record.Promised) > 0 {
		return slices.Equal(id.record.Promised, set), nil
	}
	if err := id.change(func(r *identityRecord) { r.Promised = set }); err != nil {
		return false, err
	}
	return true, nil
}

// validateFounders wants set in the order of node ids, each once.
func validateFounders(set []founder) error {
	if len(set) == 0 {
		return errors.New("a cluster has at least one founder")
	}
	for i, f := range set {
		if f.NodeID == "" || f.Raft == "" {
			return errors.New("a founder has a node id and a raft address")
		}
		if i > 0 && f.NodeID <= set[i-1].NodeID {
			return fmt.Errorf("founder %s is named twice or out of order", f.NodeID)
		}
	}
	return nil
}

// promised returns the set promised, by node id; none: nil.
func (id *identity) promised() []founder {
	id.mu.RLock()
	defer id.mu.RUnlock()
	return slices.Clone(id.record.Promised)
}

func (id *identity) preparedVersion() uint32 {
	id.mu.RLock()
	defer id.mu.RUnlock()
	return id.record.PreparedVersion
}

// prepareVersion notes that the cluster's protocol version may be raised to v.
// What was prepared stays prepared: a lower v changes nothing.
func (id *identity) prepareVersion(v uint32) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	if v <= id.record.PreparedVersion {
		return nil
	}
	return id.change(func(r *identityRecord) { r.PreparedVersion = v })
}
