package fsm

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/snapshot"
)

const (
	// BackupVersion is the version of the backup format that is written, and
	// the newest that is read.
	BackupVersion = 1

	// backupFrame is how many bytes of keys and floors go into one frame of a
	// backup, which is what one log entry of a restore brings. A key that is
	// larger has a frame of its own.
	backupFrame = 1 << 20

	// maxBackupFrame is the largest frame that fits a log entry.
	maxBackupFrame = 12 << 20
)

// BackupInfo says what a backup is of.
type BackupInfo struct {
	ClusterID string
	Revision  uint64
	Created   time.Time
	Keys      uint64
	Floors    uint64
}

// A Backup is the keys and floors of one moment on their way to a file. It
// shares memory with the state, which goes on.
type Backup struct {
	image *Image
	omit  string
	info  BackupInfo
}

// Backup freezes the state, as [State.Freeze] does, for a backup without the
// keys of one namespace.
func (s *State) Backup(clusterID string, created time.Time, omit string) *Backup {
	b := &Backup{image: s.Freeze(), omit: omit}
	b.info = BackupInfo{ClusterID: clusterID, Revision: b.image.Revision(), Created: created.UTC().Truncate(time.Microsecond)}
	b.info.Keys = uint64(b.image.keys.Len())
	b.image.keys.Ascend(&key{ns: omit}, func(k *key) bool {
		if k.ns == omit {
			b.info.Keys--
		}
		return k.ns == omit
	})
	b.info.Floors = uint64(b.image.floors.Len())
	if _, ok := b.image.floors.Get(&floor{ns: omit}); ok {
		b.info.Floors--
	}
	return b
}

// Info says what the backup is of.
func (b *Backup) Info() BackupInfo { return b.info }

// Save writes the backup as a snapshot container. Equal keys and floors of one
// cluster, revision and instant give equal bytes.
func (b *Backup) Save(w io.Writer) error {
	sw, err := snapshot.NewWriter(w, BackupVersion)
	if err != nil {
		return err
	}
	f := &fragments{w: sw, by: b.image.header.WallOffset}
	f.frag.Backup = &fsmpb.BackupHeader{
		ClusterId: b.info.ClusterID, Revision: b.info.Revision, Created: b.info.Created.UnixMicro(),
		Keys: b.info.Keys, Floors: b.info.Floors,
	}
	f.flush()
	f.limit = backupFrame
	b.image.keys.Scan(func(k *key) bool { return k.ns == b.omit || f.addKey(&f.frag.Keys, k) })
	b.image.floors.Scan(func(fl *floor) bool { return fl.ns == b.omit || f.addFloor(&f.frag.Floors, fl) })
	return f.close()
}

// A BackupReader reads a backup. Its errors are those of [snapshot.Reader], and
// a [*VersionError] if the backup is newer than this build.
type BackupReader struct {
	in    *snapshot.Reader
	info  BackupInfo
	omit  string
	left  BackupInfo // counts of what is still to come
	last  *fsmpb.ImageKey
	ns    string // of the last key
	floor string // namespace of the last floor
}

// NewBackupReader reads what the backup is of. Keys of the namespace omit make
// it a damaged one.
func NewBackupReader(r io.Reader, omit string) (*BackupReader, error) {
	in, err := snapshot.NewReader(r)
	if err != nil {
		return nil, err
	}
	frame, err := in.Next()
	if err == io.EOF {
		return nil, damaged("it is empty")
	}
	if err != nil {
		return nil, err
	}
	var f fsmpb.Image
	if err := proto.Unmarshal(frame, &f); err != nil {
		return nil, damaged("its header: %w", err)
	}
	switch h := f.Backup; {
	case h == nil && f.Header != nil:
		return nil, damaged("it is a node's snapshot and no backup")
	case h == nil:
		return nil, damaged("it has no header")
	case in.Content() < 1 || in.Content() > BackupVersion:
		return nil, &VersionError{What: "backup", Need: in.Content(), Min: 1, Max: BackupVersion, Of: "backup format"}
	case h.Revision > MaxRevision:
		return nil, damaged("its revision is %d, the limit is %d", h.Revision, uint64(MaxRevision))
	default:
		info := BackupInfo{h.ClusterId, h.Revision, time.UnixMicro(h.Created).UTC(), h.Keys, h.Floors}
		return &BackupReader{in: in, info: info, left: info, omit: omit}, checkFragment(&f)
	}
}

// Info says what the backup is of.
func (b *BackupReader) Info() BackupInfo { return b.info }

// Next returns the next keys and floors, floors after all keys, or io.EOF once
// the whole was found undamaged: act on nothing before that.
func (b *BackupReader) Next() ([]*fsmpb.ImageKey, []*fsmpb.ImageFloor, error) {
	frame, err := b.in.Next()
	if err == io.EOF && b.left.Keys+b.left.Floors > 0 {
		err = damaged("%d keys and %d floors of its header are missing", b.left.Keys, b.left.Floors)
	}
	if err != nil {
		return nil, nil, err
	}
	f := new(fsmpb.Image)
	if err := proto.Unmarshal(frame, f); err != nil {
		return nil, nil, damaged("%w", err)
	}
	if err := b.check(f, len(frame)); err != nil {
		return nil, nil, damaged("%w", err)
	}
	return f.Keys, f.Floors, nil
}

func (b *BackupReader) check(f *fsmpb.Image, size int) error {
	switch {
	case size > maxBackupFrame:
		return fmt.Errorf("a frame of %d bytes, the limit is %d", size, maxBackupFrame)
	case f.Header != nil || f.Backup != nil || len(f.Sessions)+len(f.Records)+len(f.Changes)+len(f.StagedKeys)+len(f.StagedFloors) > 0:
		return errors.New("a frame holds what no backup has")
	case uint64(len(f.Keys)) > b.left.Keys || uint64(len(f.Floors)) > b.left.Floors:
		return errors.New("it holds more than its header says")
	}
	if err := checkFragment(f); err != nil {
		return err
	}
	if err := checkContents(f.Keys, f.Floors); err != nil {
		return err
	}
	b.left.Keys -= uint64(len(f.Keys))
	b.left.Floors -= uint64(len(f.Floors))
	if err := b.checkKeys(f.Keys); err != nil {
		return err
	}
	return b.checkFloors(f.Floors)
}

// checkKeys refuses keys that are not in order, which those of a state are.
func (b *BackupReader) checkKeys(keys []*fsmpb.ImageKey) error {
	for _, k := range keys {
		ns := cmp.Or(k.Namespace, b.ns)
		switch {
		case ns == b.omit:
			return errors.New("it holds keys that no backup has")
		case b.last != nil && (ns < b.ns || ns == b.ns && k.Key <= b.last.Key):
			return errors.New("its keys are not in order")
		}
		b.ns, b.last = ns, k
	}
	return nil
}

func (b *BackupReader) checkFloors(floors []*fsmpb.ImageFloor) error {
	for _, f := range floors {
		switch {
		case b.left.Keys > 0:
			return errors.New("a floor comes before the last key")
		case f.Namespace == b.omit:
			return errors.New("it holds a floor that no backup has")
		case f.Namespace <= b.floor:
			return errors.New("its floors are not in order")
		}
		b.floor = f.Namespace
	}
	return nil
}

// damaged says why a file whose checksums are right is no backup.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", snapshot.ErrCorrupt, fmt.Errorf(format, args...))
}
