package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// raw returns e as a log entry of any version, unchecked.
func raw(t testing.TB, version uint64, e *fsmpb.Entry) []byte {
	t.Helper()
	body, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.AppendUvarint(nil, version), body...)
}

// stranger gives m a field that no build knows.
func stranger[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1))
	return m
}

func entryOf(ops ...*fsmpb.Op) *fsmpb.Entry { return entryOfCommand(command("w", ops...)) }

func entryOfCommand(c *fsmpb.Command) *fsmpb.Entry {
	return &fsmpb.Entry{Stamp: 500, Batches: []*fsmpb.Batch{{Session: 1, Sequence: 9, Low: 9, Commands: []*fsmpb.Command{c}}}}
}

// What this build does not know in full stops the node and changes nothing,
// and a leader does not let it into the log.
func TestApplyRefuses(t *testing.T) {
	tests := []struct {
		name  string
		entry *fsmpb.Entry
		text  string
	}{
		{"field of an entry", stranger(&fsmpb.Entry{Stamp: 500}), "Entry has a field"},
		{"field of a leader start", &fsmpb.Entry{LeaderStart: stranger(&fsmpb.LeaderStart{})}, "LeaderStart has a field"},
		{"field of settings", &fsmpb.Entry{LeaderStart: &fsmpb.LeaderStart{Settings: stranger(&fsmpb.Settings{})}}, "Settings has a field"},
		{"field of an opening", &fsmpb.Entry{OpenSession: stranger(&fsmpb.OpenSession{})}, "OpenSession has a field"},
		{"field of a node", &fsmpb.Entry{OpenSession: &fsmpb.OpenSession{Node: stranger(&fsmpb.Node{})}}, "Node has a field"},
		{"field of a raise", &fsmpb.Entry{RaiseVersion: stranger(&fsmpb.RaiseVersion{})}, "RaiseVersion has a field"},
		{"field of a batch", &fsmpb.Entry{Batches: []*fsmpb.Batch{stranger(&fsmpb.Batch{Session: 1})}}, "Batch has a field"},
		{"field of a command", entryOfCommand(stranger(command("w", set("k", "b")))), "Command has a field"},
		{"field of an operation", entryOf(set("j", "b"), stranger(set("k", "b"))), "Op has a field"},
		{"no kind", entryOf(set("j", "b"), &fsmpb.Op{Key: "k"}), "kind 0"},
		{"kind to come", entryOf(&fsmpb.Op{Kind: 4, Key: "k"}), "kind 4"},
		{"kind below all", entryOf(&fsmpb.Op{Kind: -1, Key: "k"}), "kind -1"},
		{"condition to come", entryOf(set("k", "b", func(op *fsmpb.Op) { op.Condition = 3 })), "condition 3"},
		{"ttl below zero", entryOf(set("k", "b", ttl(-1))), "ttl of -1 µs"},
		{"a key twice", entryOf(set("k", "b"), check("j"), del("k")), "names a key twice"},
		{"idempotency key too long", entryOfCommand(&fsmpb.Command{Namespace: "w", IdempotencyKey: make([]byte, 17)}), "17 bytes, it has 16"},
		{"idempotency key too short", entryOfCommand(&fsmpb.Command{Namespace: "w", IdempotencyKey: []byte("x")}), "1 bytes, it has 16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, raw(t, 1, tt.entry), tt.text)
			if _, err := Encode(tt.entry); err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Encode: got %v, want an error with %q", err, tt.text)
			}
		})
	}
}

func TestApplyRefusesBytes(t *testing.T) {
	good := encode(t, entryOf(set("k", "b")))
	for name, data := range map[string][]byte{
		"no bytes":            {},
		"version is cut":      {0x80},
		"version is too long": bytes.Repeat([]byte{0xff}, 11),
		"message is cut":      good[:len(good)-1],
		"not a message":       {1, 0xff, 0xff, 0xff},
		"key is not UTF-8":    bytes.Replace(good, []byte("\x01k"), []byte("\x01\xff"), 1),
	} {
		t.Run(name, func(t *testing.T) { refused(t, data, "log entry 77") })
	}
}

func TestApplyRefusesVersions(t *testing.T) {
	raise := func(v uint32) *fsmpb.Entry { return &fsmpb.Entry{RaiseVersion: &fsmpb.RaiseVersion{Version: v}} }
	for _, tt := range []struct {
		name string
		data []byte
		need uint32
	}{
		{"zero", raw(t, 0, entryOf(set("k", "b"))), 0},
		{"to come", raw(t, MaxVersion+1, entryOf(set("k", "b"))), MaxVersion + 1},
		{"to come, of which nothing is known", []byte{MaxVersion + 1, 0xff, 0xff}, MaxVersion + 1},
		{"far to come", raw(t, 1<<40, &fsmpb.Entry{}), math.MaxUint32},
		{"raised beyond", raw(t, 1, raise(MaxVersion+1)), MaxVersion + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := refused(t, tt.data, "log entry 77 needs protocol version")
			var version *VersionError
			if !errors.As(err, &version) || version.Need != tt.need || version.Min != MinVersion || version.Max != MaxVersion {
				t.Errorf("got %+v, want need %d", version, tt.need)
			}
		})
	}
}

// refused checks that an entry fails with text and that nothing has changed.
func refused(t *testing.T, data []byte, text string) error {
	t.Helper()
	m := after(t, at(100), do(set("k", "a", ttl(50))))
	before := save(t, m.State)
	_, err := m.Apply(77, data)
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want an error with %q", err, text)
	}
	if !bytes.Equal(save(t, m.State), before) {
		t.Error("the refused entry has changed the state")
	}
	return err
}

func TestRaiseVersion(t *testing.T) {
	m := newMachine(t)
	m.Speak(3)
	for _, tt := range []struct{ raise, want uint32 }{{1, 1}, {2, 2}, {1, 2}, {3, 3}} {
		m.entry(&fsmpb.Entry{RaiseVersion: &fsmpb.RaiseVersion{Version: tt.raise}})
		if got := m.Version(); got != tt.want {
			t.Errorf("raised to %d: version is %d, want %d", tt.raise, got, tt.want)
		}
	}

	// Its snapshot is for builds that speak the cluster's version alone.
	image := save(t, m.State)
	newer, older := New(), New()
	newer.Speak(3)
	if err := newer.Restore(bytes.NewReader(image)); err != nil || newer.Version() != 3 {
		t.Errorf("restored to version %d, %v; want 3", newer.Version(), err)
	}
	var version *VersionError
	if err := older.Restore(bytes.NewReader(image)); !errors.As(err, &version) || version.Need != 3 || version.What != "snapshot" {
		t.Errorf("got %v, want that the snapshot needs version 3", err)
	}
}

// An entry without a body only moves the clock.
func TestEmptyEntry(t *testing.T) {
	m := newMachine(t)
	before := save(t, m.State)
	m.entry(&fsmpb.Entry{})
	m.State.index--
	if !bytes.Equal(save(t, m.State), before) {
		t.Error("an empty entry has changed more than the index")
	}
}
