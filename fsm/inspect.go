package fsm

import (
	"cmp"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
	"github.com/stateraft/stateraft/snapshot"
)

// An Inspection says what a backup or a node's snapshot holds.
type Inspection struct {
	Backup  *fsmpb.BackupHeader // nil: it is a snapshot
	State   *fsmpb.ImageHeader  // nil: it is a backup
	Version uint32              // of the backup format, or of the protocol
	Kinds   map[string]Tally

	Sessions, Records, Changes int
}

// A Tally counts the keys and floors of some namespaces.
type Tally struct {
	Namespaces, Keys, KeysWithTTL, Floors int
	Bytes                                 uint64 // of keys and values
}

// Inspect reads a whole backup or snapshot and counts what it holds by kinds of
// namespaces. Errors are those of [snapshot.Reader]: then it is not whole.
func Inspect(r io.Reader, kindOf func(namespace string) string) (Inspection, error) {
	sr, err := snapshot.NewReader(r)
	if err != nil {
		return Inspection{}, err
	}
	i := inspector{Inspection: Inspection{Version: sr.Content(), Kinds: map[string]Tally{}}, kindOf: kindOf}
	for {
		frame, err := sr.Next()
		if err == io.EOF {
			return i.finish()
		}
		if err != nil {
			return Inspection{}, err
		}
		var f fsmpb.Image
		if err := proto.Unmarshal(frame, &f); err != nil {
			return Inspection{}, damaged("%w", err)
		}
		i.add(&f)
	}
}

type inspector struct {
	Inspection
	kindOf func(string) string
	ns     string // of the last key
	keys   uint64
}

func (i *inspector) add(f *fsmpb.Image) {
	if f.Backup != nil {
		i.Backup = f.Backup
	}
	if f.Header != nil {
		i.State = f.Header
	}
	for _, k := range f.Keys {
		i.addKey(k)
	}
	for _, fl := range f.Floors {
		kind := i.kindOf(fl.Namespace)
		t := i.Kinds[kind]
		t.Floors++
		i.Kinds[kind] = t
	}
	i.Sessions += len(f.Sessions)
	i.Records += len(f.Records)
	i.Changes += len(f.Changes)
}

func (i *inspector) addKey(k *fsmpb.ImageKey) {
	ns := cmp.Or(k.Namespace, i.ns)
	kind := i.kindOf(ns)
	t := i.Kinds[kind]
	if ns != i.ns || i.keys == 0 {
		t.Namespaces++
	}
	t.Keys++
	if k.Deadline != 0 {
		t.KeysWithTTL++
	}
	t.Bytes += uint64(len(k.Key) + len(k.Value))
	i.Kinds[kind], i.ns = t, ns
	i.keys++
}

func (i *inspector) finish() (Inspection, error) {
	switch {
	case (i.Backup == nil) == (i.State == nil):
		return Inspection{}, damaged("it has no header")
	case i.Backup.GetKeys()+i.State.GetKeys() != i.keys:
		return Inspection{}, damaged("it holds %d keys and its header says %d", i.keys, i.Backup.GetKeys()+i.State.GetKeys())
	}
	return i.Inspection, nil
}
