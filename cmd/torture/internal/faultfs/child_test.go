package faultfs

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// childEnv makes this program one that uses a disk which another process
// serves. A process that maps a file of a disk which it serves itself hangs in
// a page fault as soon as Go's runtime wants to stop the world.
const childEnv = "FAULTFS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := children[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var children = map[string]func(args []string) error{"map": mapFile, "count": countOn}

// child is one, and what it prints.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	stdin io.WriteCloser
}

func start(t *testing.T, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return &child{cmd, bufio.NewScanner(stdout), stdin}
}

// line returns the next that it prints; empty: it has ended.
func (c *child) line() string {
	c.lines.Scan()
	return c.lines.Text()
}

// mapFile prints the byte at an offset of a file, as a map of it has it, and
// again for every line that it reads.
func mapFile(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	offset, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	mapped, err := syscall.Mmap(int(f.Fd()), 0, offset+1, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); ; {
		fmt.Printf("%c\n", mapped[offset])
		if !in.Scan() {
			return nil
		}
	}
}

var bucket = []byte("numbers")

// openBolt opens a bolt file as the server's log does.
func openBolt(path string, noSync bool) (*bbolt.DB, error) {
	return bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: noSync})
}

// countOn checks a bolt file, prints the last number in it, commits those that
// follow, and prints each. Arguments: path, how many (negative: without end), "sync" or
// "nosync".
func countOn(args []string) error {
	times, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	db, err := openBolt(args[0], args[2] == "nosync")
	if err != nil {
		return err
	}
	number, err := last(db)
	if err != nil {
		return err
	}
	fmt.Println(number)
	for ; times != 0; times-- {
		number++
		if err := commit(db, number); err != nil {
			return err
		}
		fmt.Println(number)
	}
	return db.Close()
}

func commit(db *bbolt.DB, number uint64) error {
	return db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return b.Put(binary.BigEndian.AppendUint64(nil, number), make([]byte, 100+number%4000))
	})
}

// last checks a bolt file and returns its highest number; 0: there is none.
func last(db *bbolt.DB) (number uint64, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		b := tx.Bucket(bucket)
		if b == nil {
			return nil
		}
		key, _ := b.Cursor().Last()
		number = binary.BigEndian.Uint64(key)
		return nil
	})
	return number, err
}
