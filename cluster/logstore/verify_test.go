package logstore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// image returns the file of a store that has gone through fill.
func image(t testing.TB, fill func(*Store)) []byte {
	t.Helper()
	dir := t.TempDir()
	s := openStore(t, testConfig(t, dir))
	fill(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setBallot(t testing.TB, s *Store, term uint64, candidate string) {
	t.Helper()
	err := errors.Join(s.SetUint64([]byte(KeyTerm), term), s.SetUint64([]byte(keyVoteTerm), term), s.Set([]byte(keyVote), []byte(candidate)))
	if err != nil {
		t.Fatal(err)
	}
}

// digest returns what a file says, with a hash of its entries, and verify's
// error.
func digest(file []byte) (says contents, hash uint64, err error) {
	r := bytes.NewReader(file)
	if says, err = verify(r, int64(len(file))); err != nil {
		return says, 0, err
	}
	p, err := openPages(r, int64(len(file)))
	if err != nil {
		return says, 0, err
	}
	sum := fnv.New64a()
	err = p.each(p.root, nil, 0, func(bucket item) error {
		if string(bucket.key) != "logs" {
			return nil
		}
		return p.bucket(bucket.value, func(it item) error {
			var l raft.Log
			err := codec.NewDecoderBytes(it.value, &codec.MsgpackHandle{}).Decode(&l)
			fmt.Fprintf(sum, "%s %d %d %d %s %s %v\n", it.key, l.Index, l.Term, l.Type, l.Data, l.Extensions, l.AppendedAt)
			return err
		})
	})
	return says, sum.Sum64(), err
}

// inUse returns the ranges of bytes of the file's pages that are in use, and
// both metas.
func inUse(t *testing.T, file []byte) []span {
	t.Helper()
	recorder := &readRecorder{ReaderAt: bytes.NewReader(file)}
	if _, err := verify(recorder, int64(len(file))); err != nil {
		t.Fatal(err)
	}
	return recorder.read
}

type readRecorder struct {
	io.ReaderAt
	read []span
}

func (r *readRecorder) ReadAt(b []byte, at int64) (int, error) {
	r.read = append(r.read, span{uint64(at), uint64(at) + uint64(len(b)) - 1})
	return r.ReaderAt.ReadAt(b, at)
}

// TestFlips flips each bit of what is in use in files of several shapes. The
// file must then be refused, or say what it said.
func TestFlips(t *testing.T) {
	shapes := map[string]func(*Store){
		"head alone": func(*Store) {},
		"inline":     func(s *Store) { setBallot(t, s, 3, "n1"); store(t, s, 1, 2, 3) },
		"state last": func(s *Store) { store(t, s, 1, 9, 3); store(t, s, 10, 12, 3); setBallot(t, s, 4, "n2") },
		"one by one": func(s *Store) {
			for i := uint64(1); i < 24; i++ {
				store(t, s, i, i, 3)
			}
		},
		"cut": func(s *Store) {
			store(t, s, 1, 600, 3)
			for range 3 {
				if err := s.DeleteRange(s.extent.first, s.extent.first+190); err != nil {
					t.Fatal(err)
				}
				store(t, s, s.extent.last+1, s.extent.last+2, 4)
			}
			setBallot(t, s, 5, "n3")
		},
		"large": func(s *Store) {
			for i := uint64(1); i < 9; i++ {
				if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, 5000)}); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	for name, fill := range shapes {
		t.Run(name, func(t *testing.T) {
			file := image(t, fill)
			want, wantHash, err := digest(file)
			if err != nil {
				t.Fatal(err)
			}
			tried, harmless := 0, 0
			for at := range toFlip(inUse(t, file)) {
				for bit := range 8 {
					where := fmt.Sprintf("bit %d of byte %d of page %d", bit, at%4096, at/4096)
					file[at] ^= 1 << bit
					got, hash, err := digest(file)
					tried++
					if err == nil {
						harmless++
						if hash != wantHash || !reflect.DeepEqual(got, want) {
							t.Errorf("%s: got %+v, want %+v", where, got, want)
						}
						if harmless%1024 == 0 {
							openHarmless(t, where, file)
						}
					} else if !errors.Is(err, ErrCorrupt) {
						t.Errorf("%s: error %v, want ErrCorrupt", where, err)
					}
					file[at] ^= 1 << bit
				}
			}
			t.Logf("%d bits flipped, %d without harm", tried, harmless)
		})
	}
}

// openHarmless opens a file that verify accepts in spite of a flipped bit.
func openHarmless(t *testing.T, where string, file []byte) {
	t.Helper()
	s, err := openImage(t, file)
	if err != nil {
		t.Fatalf("%s does no harm, and Open: %v", where, err)
	}
	s.Close()
}

// toFlip yields the bytes of all headers, of the beginning of all tables, and
// some of the rest.
func toFlip(pieces []span) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for n, piece := range pieces {
			for at := piece.first; at <= piece.last; at++ {
				if at-piece.first > 96 && (at+uint64(n))%199 != 0 {
					continue
				}
				if !yield(at) {
					return
				}
			}
		}
	}
}

func openImage(t *testing.T, file []byte) (*Store, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(testConfig(t, dir))
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// bolt makes a file by raft-boltdb alone, beginning with an image.
func bolt(t *testing.T, file []byte, fill func(*raftboltdb.BoltStore) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), FileName)
	if file != nil {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{NoFreelistSync: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fill(b), b.Close()); err != nil {
		t.Fatal(err)
	}
	file, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func nothing(*raftboltdb.BoltStore) error { return nil }

func TestOpen(t *testing.T) {
	ours := image(t, func(s *Store) { store(t, s, 1, 500, 1); setBallot(t, s, 2, "n1") })
	older := func(file []byte) []byte { // the meta of the transaction before
		file = bytes.Clone(file)
		at := 0
		if order.Uint64(file[4096+pageHeaderSize+48:]) > order.Uint64(file[pageHeaderSize+48:]) {
			at = 4096
		}
		file[at+pageHeaderSize+50] ^= 1
		return file
	}
	tests := []struct {
		name string
		file []byte
		want string // in the error; "" for none
	}{
		{"empty file", []byte{}, ""},
		{"bolt and no more", bolt(t, nil, nothing), ""},
		{"a crash while it was made", bolt(t, bolt(t, nil, nothing), nothing), ""},
		{"a crash while it was opened", bolt(t, ours, nothing), ""},
		{"two of them", bolt(t, bolt(t, ours, nothing), nothing), ""},
		{"entries of another program", bolt(t, nil, func(b *raftboltdb.BoltStore) error { return b.StoreLog(entry(1, 1)) }), "another program"},
		{"an entry of another program behind ours", bolt(t, ours, func(b *raftboltdb.BoltStore) error { return b.StoreLog(entry(501, 1)) }), "has no checksum"},
		{"an entry deleted by another program", bolt(t, ours, func(b *raftboltdb.BoltStore) error { return b.DeleteRange(7, 7) }), "transaction"},
		{"the newest meta page torn", older(ours), "meta page"},
		{"half of the file", ours[:len(ours)/2], "pages"},
		{"one page", ours[:4096], "meta page"},
		{"zeros", make([]byte, 16<<10), "meta page"},
		{"text", bytes.Repeat([]byte("hello "), 4<<10), "meta page"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := openImage(t, tt.file)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error %v, want none", err)
			case tt.want != "" && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want ErrCorrupt with %q", err, tt.want)
			}
		})
	}
}

// Ensure what passes for a new file is damage where there was a log.
func TestExisting(t *testing.T) {
	for _, tt := range []struct {
		name string
		file []byte
		want error
	}{
		{"empty file", []byte{}, ErrCorrupt},
		{"bolt and no more", bolt(t, nil, nothing), ErrCorrupt},
		{"head alone", image(t, func(*Store) {}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t, t.TempDir())
			cfg.Existing = true
			if err := os.WriteFile(filepath.Join(cfg.Dir, FileName), tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(cfg)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// Ensure a file that early builds wrote is told from a damaged one: what a node
// does about damage would take the data away from those builds.
func TestForeign(t *testing.T) {
	for _, key := range []string{KeyTerm, keyVoteTerm} {
		file := bolt(t, nil, func(b *raftboltdb.BoltStore) error {
			return errors.Join(b.StoreLog(&raft.Log{Index: 1, Term: 1}), b.SetUint64([]byte(key), 1))
		})
		if _, err := openImage(t, file); !errors.Is(err, ErrForeign) || errors.Is(err, ErrCorrupt) {
			t.Errorf("with a value %q: error %v, want ErrForeign alone", key, err)
		}
	}
}

// FuzzVerify writes over two places of a file: verify must neither panic nor
// run in circles, nor take the file for one that says something else.
func FuzzVerify(f *testing.F) {
	shape := image(f, func(s *Store) {
		setBallot(f, s, 3, "n1")
		for i := uint64(1); i < 30; i++ {
			store(f, s, i, i, 3)
		}
	})
	f.Add(uint32(0), []byte{}, uint32(4096), []byte{1})
	f.Add(uint32(8192), []byte{3}, uint32(12288), bytes.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, at2 uint32, patch2 []byte) {
		file := bytes.Clone(shape)
		copy(file[int(at)%len(file):], patch)
		copy(file[int(at2)%len(file):], patch2)
		c, err := verify(bytes.NewReader(file), int64(len(file)))
		if err == nil && (c.head.extent != span{1, 29} || c.state.term != 3) {
			t.Errorf("got %+v", c)
		}
	})
}
