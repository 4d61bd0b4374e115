package logstore

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

var benchSizes = []int{512, 16 << 10}

// BenchmarkStoreLogs appends one entry at a time and cuts the log as Raft does,
// to compare with BenchmarkBolt.
func BenchmarkStoreLogs(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) { appendOne(b, openStore(b, testConfig(b, b.TempDir())), size) })
	}
}

// BenchmarkBolt is BenchmarkStoreLogs without a wrapper.
func BenchmarkBolt(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			bolt, err := raftboltdb.New(raftboltdb.Options{
				Path:        filepath.Join(b.TempDir(), FileName),
				BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer bolt.Close()
			appendOne(b, bolt, size)
		})
	}
}

func appendOne(b *testing.B, s raft.LogStore, size int) {
	l := &raft.Log{Term: 1, Data: bytes.Repeat([]byte("x"), size), AppendedAt: time.Now()}
	b.SetBytes(int64(size))
	for b.Loop() {
		l.Index++
		if err := s.StoreLog(l); err != nil {
			b.Fatal(err)
		}
		if l.Index%2048 == 0 {
			if err := s.DeleteRange(l.Index-2047, l.Index-1024); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkGetLog(b *testing.B) {
	for name, cached := range map[string]int64{"cache": 64 << 20, "file": 1} {
		b.Run(name, func(b *testing.B) {
			cfg := testConfig(b, b.TempDir())
			cfg.MaxCacheBytes = cached
			s := openStore(b, cfg)
			l := raft.Log{Term: 1, Data: make([]byte, 512)}
			for l.Index = 1; l.Index <= 1000; l.Index++ {
				if err := s.StoreLog(&l); err != nil {
					b.Fatal(err)
				}
			}
			index := uint64(0)
			for b.Loop() {
				index++
				if err := s.GetLog(index%1000+1, &l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen measures a start with a log of so many MiB.
func BenchmarkOpen(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			cfg := testConfig(b, b.TempDir())
			s := openStore(b, cfg)
			fill(b, s, size, openMiB<<20)
			s.Close()
			path := filepath.Join(cfg.Dir, FileName)
			b.SetBytes(openMiB << 20)
			b.Run("verify", func(b *testing.B) {
				for b.Loop() {
					if _, err := verifyFile(path); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("open", func(b *testing.B) {
				for b.Loop() {
					s, err := Open(cfg)
					if err != nil {
						b.Fatal(err)
					}
					s.Close()
				}
			})
		})
	}
}

const openMiB = 128

func fill(b *testing.B, s *Store, size, total int) {
	data := bytes.Repeat([]byte("x"), size)
	next := uint64(1)
	for done := 0; done < total; {
		var logs []*raft.Log
		for range 64 {
			logs = append(logs, &raft.Log{Index: next, Term: 1, Data: data, AppendedAt: time.Now()})
			next++
			done += size
		}
		if err := s.StoreLogs(logs); err != nil {
			b.Fatal(err)
		}
	}
}
