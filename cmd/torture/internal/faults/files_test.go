package faults

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// Ensure a log that is cut short behind its last used byte has lost something,
// however far the file goes on.
func TestUsedBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), logFile)
	if _, err := usedBytes(path); err == nil {
		t.Error("no file has bytes that are used")
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.Repeat([]byte("x"), 100<<10)
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("logs"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), last)
	})
	if err != nil || db.Close() != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// What a process that was killed had begun to write.
	if err := os.WriteFile(path, append(text, "beyond the last page"...), 0o600); err != nil {
		t.Fatal(err)
	}
	used, err := usedBytes(path)
	if err != nil {
		t.Fatal(err)
	}
	if used >= int64(len(text)) || used <= int64(len(last)) || text[used-1] == 0 || len(bytes.Trim(text[used:], "\x00")) > 0 {
		t.Errorf("%d of %d bytes are used", used, len(text))
	}
}
