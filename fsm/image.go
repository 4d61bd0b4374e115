package fsm

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/snapshot"
)

// An Image is the state of one moment. It shares memory with the state and
// stays as it is while the state goes on.
type Image struct {
	header   *fsmpb.ImageHeader
	keys     *btree.BTreeG[*key]
	floors   *btree.BTreeG[*floor]
	sessions []*fsmpb.ImageSession
	records  queue[record]
	changes  queue[Change]

	stagedKeys   *btree.BTreeG[*key] // nil: no restore is under way
	stagedFloors *btree.BTreeG[*floor]
}

// Freeze takes an image of the state. It copies only the answers of sessions
// (at most Window a node) and lists of chunks, so it takes microseconds
// whatever the size of the state.
func (s *State) Freeze() *Image {
	s.mu.Lock() // Copy marks the original too
	defer s.mu.Unlock()
	im := &Image{
		header: &fsmpb.ImageHeader{
			Version: s.version, Index: s.index, Revision: s.revision,
			Clock: s.clock, WallOffset: s.offset, Settings: s.settings,
			HistoryBase: s.history.base, Keys: uint64(s.keys.Len()), Restored: s.restored,
		},
		keys:    s.keys.Copy(),
		floors:  s.floors.Copy(),
		records: s.records.queue.copy(),
		changes: s.history.queue.copy(),
	}
	for _, se := range s.sessions {
		im.sessions = append(im.sessions, se.image())
	}
	if st := s.staging; st != nil {
		im.header.Staging = &fsmpb.Staging{Id: st.id, Next: st.next, Keys: uint64(st.keys.Len())}
		im.stagedKeys, im.stagedFloors = st.keys.Copy(), st.floors.Copy()
	}
	return im
}

func (s *session) image() *fsmpb.ImageSession {
	im := &fsmpb.ImageSession{Number: s.number, BootId: s.bootID, Node: s.node, Low: s.low}
	for _, seq := range slices.Sorted(maps.Keys(s.answers)) {
		im.Answers = append(im.Answers, &fsmpb.ImageAnswer{Sequence: seq, Answer: s.answers[seq]})
	}
	return im
}

// Index returns the index of the last entry applied to the imaged state.
func (im *Image) Index() uint64 { return im.header.Index }

// Revision returns the revision of the imaged state.
func (im *Image) Revision() uint64 { return im.header.Revision }

// Save writes the image as a snapshot container. Equal states give equal
// bytes.
func (im *Image) Save(w io.Writer) error {
	sw, err := snapshot.NewWriter(w, im.header.Version)
	if err != nil {
		return err
	}
	f := &fragments{w: sw}
	f.frag.Header = im.header
	f.flush()
	im.keys.Scan(func(k *key) bool { return f.addKey(&f.frag.Keys, k) })
	im.floors.Scan(func(fl *floor) bool { return f.addFloor(&f.frag.Floors, fl) })
	for _, s := range im.sessions {
		f.frag.Sessions = append(f.frag.Sessions, s)
		f.added(proto.Size(s))
	}
	for i := range im.records.len() {
		f.addRecord(im.records.at(i))
	}
	for i := range im.changes.len() {
		f.addChange(im.changes.at(i))
	}
	if im.header.Staging != nil {
		f.flush() // so that the first key names its namespace
		im.stagedKeys.Scan(func(k *key) bool { return f.addKey(&f.frag.StagedKeys, k) })
		im.stagedFloors.Scan(func(fl *floor) bool { return f.addFloor(&f.frag.StagedFloors, fl) })
	}
	return f.close()
}

// fragmentBytes is about how much goes into one frame of a snapshot.
const fragmentBytes = 256 << 10

// fragments collects records and writes them as frames. Its first error
// sticks.
type fragments struct {
	w     *snapshot.Writer
	frag  fsmpb.Image
	ns    string // of the last key in frag
	size  int
	by    int64 // what is added to all times
	limit int   // most bytes of a frame with more than one record; 0: it ends past fragmentBytes
	buf   []byte
	err   error
}

func (f *fragments) addKey(list *[]*fsmpb.ImageKey, k *key) bool {
	f.room(int(k.size()) + len(k.ns))
	p := &fsmpb.ImageKey{
		Namespace: k.ns, Key: k.name, Value: k.value, Version: k.version, Revision: k.revision,
		Created: shift(k.created, f.by), Updated: shift(k.updated, f.by), Deadline: shift(k.deadline, f.by), SessionId: k.sessionID,
	}
	if k.ns == f.ns {
		p.Namespace = ""
	}
	f.ns = k.ns
	*list = append(*list, p)
	return f.added(int(k.size()))
}

func (f *fragments) addFloor(list *[]*fsmpb.ImageFloor, fl *floor) bool {
	f.room(len(fl.ns))
	*list = append(*list, &fsmpb.ImageFloor{Namespace: fl.ns, Floor: fl.version, Emptied: shift(fl.emptied, f.by)})
	return f.added(len(fl.ns))
}

func (f *fragments) addRecord(r *record) {
	f.frag.Records = append(f.frag.Records, &fsmpb.ImageRecord{
		Key: r.key[:], RequestHash: r.request[:], Time: r.time, Answer: r.answer,
	})
	f.added(len(r.answer))
}

func (f *fragments) addChange(c *Change) {
	f.frag.Changes = append(f.frag.Changes, &fsmpb.Change{
		Type: c.Type, Revision: c.Revision, Version: c.Version, Namespace: c.Namespace, Key: c.Key,
		OldValue: c.Old, NewValue: c.New, TxFirst: c.First, TxLast: c.Last, Time: c.Time,
	})
	f.added(len(c.Key) + len(c.Old) + len(c.New))
}

// recordOverheadBytes is about what a record takes in a frame beside its texts.
const recordOverheadBytes = 64

// room begins a new frame if the next record would pass the limit of this one.
func (f *fragments) room(bytes int) {
	if f.limit > 0 && f.size > 0 && f.size+bytes+recordOverheadBytes > f.limit {
		f.flush()
	}
}

// added counts what was just added and reports whether to go on.
func (f *fragments) added(bytes int) bool {
	if f.size += bytes + recordOverheadBytes; f.limit == 0 && f.size >= fragmentBytes {
		f.flush()
	}
	return f.err == nil
}

func (f *fragments) flush() {
	if f.err == nil {
		f.buf, f.err = proto.MarshalOptions{Deterministic: true}.MarshalAppend(f.buf[:0], &f.frag)
	}
	if f.err == nil && len(f.buf) > 0 {
		f.err = f.w.WriteFrame(f.buf)
	}
	proto.Reset(&f.frag)
	f.ns, f.size = "", 0
}

// close writes what is left and ends the container.
func (f *fragments) close() error {
	if f.flush(); f.err != nil {
		return f.err
	}
	return f.w.Close()
}

// ErrOlder says that a snapshot holds less than the state: a state never goes
// back.
var ErrOlder = errors.New("the snapshot is older than the state")

// Restore replaces the state by the one that r, a whole snapshot container,
// holds. On an error the state is as it was: [ErrOlder], or a [*VersionError]
// that says that the snapshot is of a newer protocol than this build speaks, or
// what is wrong with r.
func (s *State) Restore(r io.Reader) error {
	d, err := readImage(r, s.maxVersion)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.index < s.index {
		return fmt.Errorf("%w: it ends with entry %d, and entry %d is applied", ErrOlder, d.index, s.index)
	}
	s.data = d
	return nil
}

func readImage(r io.Reader, maxVersion uint32) (data, error) {
	sr, err := snapshot.NewReader(r)
	if err != nil {
		return data{}, err
	}
	if v := sr.Content(); v < MinVersion || v > maxVersion {
		return data{}, &VersionError{What: "snapshot", Need: v, Min: MinVersion, Max: maxVersion}
	}
	b := &builder{data: newData(), content: sr.Content()}
	for {
		frame, err := sr.Next()
		if err == io.EOF {
			return b.finish()
		}
		if err != nil {
			return data{}, err
		}
		if err := b.add(frame); err != nil {
			return data{}, err
		}
	}
}

// A builder puts a state together from fragments.
type builder struct {
	data
	content uint32 // version that the container says
	header  *fsmpb.ImageHeader
	ns      string // of the last key
}

func (b *builder) add(frame []byte) error {
	var f fsmpb.Image
	if err := proto.Unmarshal(frame, &f); err != nil {
		return fmt.Errorf("snapshot fragment: %w", err)
	}
	if err := checkFragment(&f); err != nil {
		return fmt.Errorf("snapshot fragment: %w", err)
	}
	if err := b.setHeader(f.Header); err != nil {
		return err
	}
	for _, k := range f.Keys {
		b.addKey(&b.contents, k)
	}
	for _, fl := range f.Floors {
		b.setFloor(&floor{ns: fl.Namespace, version: fl.Floor, emptied: fl.Emptied})
	}
	for _, s := range f.Sessions {
		b.addSession(s)
	}
	for _, r := range f.Records {
		b.records.add(&record{key: toRecordKey(r.Key), request: toRecordKey(r.RequestHash), time: r.Time, answer: r.Answer})
	}
	for _, c := range f.Changes {
		b.addChange(c)
	}
	return b.addStaged(&f)
}

func (b *builder) addStaged(f *fsmpb.Image) error {
	if b.staging == nil && len(f.StagedKeys)+len(f.StagedFloors) > 0 {
		return errors.New("snapshot holds keys of a restore and its header knows of none")
	}
	for _, k := range f.StagedKeys {
		b.addKey(&b.staging.contents, k)
	}
	for _, fl := range f.StagedFloors {
		b.staging.setFloor(&floor{ns: fl.Namespace, version: fl.Floor, emptied: fl.Emptied})
	}
	return nil
}

// setHeader takes the header from the first fragment; the others have none.
func (b *builder) setHeader(h *fsmpb.ImageHeader) error {
	switch {
	case (h == nil) == (b.header == nil):
		return errors.New("snapshot must have one header, at its beginning")
	case h == nil:
		return nil
	case h.Version != b.content:
		return fmt.Errorf("snapshot of protocol version %d has a header of version %d", b.content, h.Version)
	case h.Settings == nil:
		return errors.New("snapshot header has no settings")
	}
	b.header = h
	b.version, b.index, b.revision = h.Version, h.Index, h.Revision
	b.clock, b.offset, b.settings = h.Clock, h.WallOffset, h.Settings
	b.history.base = h.HistoryBase
	b.restored = h.Restored
	if st := h.Staging; st != nil {
		b.staging = &staging{contents: newContents(), id: st.Id, next: st.Next}
	}
	return nil
}

func (b *builder) addKey(to *contents, p *fsmpb.ImageKey) {
	if p.Namespace != "" && p.Namespace != b.ns {
		b.ns = p.Namespace
	}
	to.load(keyOf(p, b.ns, 0))
}

// keyOf returns the key of an image, its times moved.
func keyOf(p *fsmpb.ImageKey, ns string, by int64) *key {
	return &key{
		ns: ns, name: p.Key, value: p.Value, version: p.Version, revision: p.Revision,
		created: shift(p.Created, by), updated: shift(p.Updated, by), deadline: shift(p.Deadline, by), sessionID: p.SessionId,
	}
}

func (b *builder) addSession(p *fsmpb.ImageSession) {
	s := &session{
		number: p.Number, bootID: p.BootId, node: p.Node, low: p.Low,
		answers: make(map[uint64]*fsmpb.BatchAnswer),
	}
	for _, a := range p.Answers {
		s.answers[a.Sequence] = a.Answer
	}
	b.sessions = append(b.sessions, s)
}

func (b *builder) addChange(c *fsmpb.Change) {
	b.history.push(&Change{
		Type: c.Type, Revision: c.Revision, Version: c.Version, Namespace: c.Namespace, Key: c.Key,
		Old: c.OldValue, New: c.NewValue, First: c.TxFirst, Last: c.TxLast, Time: c.Time,
	})
}

// finish looks whether the parts make a whole.
func (b *builder) finish() (data, error) {
	if b.header == nil {
		return data{}, errors.New("snapshot is empty")
	}
	if n := uint64(b.keys.Len()); n != b.header.Keys {
		return data{}, fmt.Errorf("snapshot holds %d keys and its header says %d", n, b.header.Keys)
	}
	if st := b.staging; st != nil && uint64(st.keys.Len()) != b.header.Staging.Keys {
		return data{}, fmt.Errorf("snapshot holds %d keys of a restore and its header says %d", st.keys.Len(), b.header.Staging.Keys)
	}
	if last := b.history.base + uint64(b.history.queue.len()); last != b.revision {
		return data{}, fmt.Errorf("snapshot's history ends at revision %d and its header says %d", last, b.revision)
	}
	return b.data, nil
}
