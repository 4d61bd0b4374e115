package cluster

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func openTestIdentity(t *testing.T, dir string) *identity {
	t.Helper()
	id, err := openIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.close() })
	return id
}

func TestIdentityIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	founders := []founder{{"n2", "h2:1"}, {"n1", "h1:1"}}

	id := openTestIdentity(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v, want mode 0700", info, err)
	}
	if id.clusterID() != nil || id.promised() != nil || id.preparedVersion() != 0 || id.name() != "" {
		t.Errorf("a new identity holds %+v", id.record)
	}
	if err := id.setClusterID([]byte{1, 2, 3}); err != nil {
		t.Error(err)
	}
	if err := id.setName("n1"); err != nil {
		t.Error(err)
	}
	if ok, err := id.promise(founders); !ok || err != nil {
		t.Errorf("promise = %v, %v", ok, err)
	}
	if err := id.prepareVersion(7); err != nil {
		t.Error(err)
	}
	want := id.record
	if err := id.close(); err != nil {
		t.Fatal(err)
	}

	again := openTestIdentity(t, dir)
	if again.nodeID() != want.NodeID || !bytes.Equal(again.clusterID(), []byte{1, 2, 3}) ||
		again.name() != "n1" || again.preparedVersion() != 7 ||
		!slices.Equal(again.promised(), []founder{{"n1", "h1:1"}, {"n2", "h2:1"}}) {
		t.Errorf("read back %+v, want %+v", again.record, want)
	}
}

// Ensure a directory keeps the name that it was given first, and refuses
// another one without a change.
func TestNameIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	wantName := func(want string) {
		t.Helper()
		if name, err := StoredName(dir); name != want || err != nil {
			t.Errorf("the stored name is %q, %v; want %q", name, err, want)
		}
	}
	wantName("")
	id := openTestIdentity(t, dir)
	wantName("")
	for _, tt := range []struct{ name, err string }{
		{"n1", ""},
		{"n1", ""},
		{"n2", "the data directory " + dir + ` is that of node "n1", not of "n2"; give --node-id n1, or this node's own directory`},
	} {
		err := id.setName(tt.name)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
			t.Errorf("setName(%q): %v, want %q", tt.name, err, tt.err)
		}
		wantName("n1")
	}
	if err := id.renew(); err != nil {
		t.Fatal(err)
	}
	wantName("n1")
}

func TestStoredNameOfWhatIsNoNode(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := StoredName(dir)
	wantError(t, err, "not an identity file")
	_, err = StoredName(filepath.Join(dir, identityFile))
	wantError(t, err, "not a directory")
}

func TestIdentityIsNew(t *testing.T) {
	a, b := openTestIdentity(t, t.TempDir()), openTestIdentity(t, t.TempDir())
	if a.nodeID() == b.nodeID() {
		t.Errorf("two nodes have the id %s", a.nodeID())
	}
}

func TestSetClusterID(t *testing.T) {
	id := openTestIdentity(t, t.TempDir())
	tests := []struct {
		name    string
		set     string
		wantErr string
	}{
		{"empty", "", "not empty"},
		{"first", "one", ""},
		{"again", "one", ""},
		{"another", "two", "belongs to cluster 6f6e65 already, not to 74776f"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantError(t, id.setClusterID([]byte(tt.set)), tt.wantErr) })
	}
	if got := string(id.clusterID()); got != "one" {
		t.Errorf("cluster id = %q, want %q", got, "one")
	}
}

// wantError checks that err says want, or is nil if want is empty.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error = %v, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error = %v, want one that says %q", err, want)
	}
}

func TestPromise(t *testing.T) {
	a, b, c := founder{"a", "ha:1"}, founder{"b", "hb:1"}, founder{"c", "hc:1"}
	tests := []struct {
		name    string
		set     []founder
		want    bool
		wantErr string
	}{
		{"none", nil, false, "at least one founder"},
		{"no address", []founder{{"a", ""}}, false, "has a node id and a raft address"},
		{"twice", []founder{a, b, a}, false, "named twice"},
		{"first", []founder{a, b}, true, ""},
		{"same", []founder{a, b}, true, ""},
		{"other order", []founder{b, a}, true, ""},
		{"larger", []founder{a, b, c}, false, ""},
		{"smaller", []founder{a}, false, ""},
		{"other address", []founder{a, {"b", "hb:2"}}, false, ""},
	}
	id := openTestIdentity(t, t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := id.promise(tt.set)
			if wantError(t, err, tt.wantErr); got != tt.want {
				t.Errorf("promise = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPromiseIsMadeOnce(t *testing.T) {
	id := openTestIdentity(t, t.TempDir())
	kept := make([]bool, 8)
	var wg sync.WaitGroup
	for i := range kept {
		wg.Go(func() { kept[i], _ = id.promise([]founder{{"n", string(rune('a' + i))}}) })
	}
	wg.Wait()
	if n := len(slices.DeleteFunc(kept, func(ok bool) bool { return !ok })); n != 1 {
		t.Errorf("%d different sets were promised, want 1", n)
	}
}

func TestPreparedVersionOnlyRises(t *testing.T) {
	id := openTestIdentity(t, t.TempDir())
	for _, tt := range []struct{ prepare, want uint32 }{{2, 2}, {1, 2}, {2, 2}, {3, 3}} {
		if err := id.prepareVersion(tt.prepare); err != nil {
			t.Fatal(err)
		}
		if got := id.preparedVersion(); got != tt.want {
			t.Errorf("after %d: prepared %d, want %d", tt.prepare, got, tt.want)
		}
	}
}

func TestIdentityFileRefused(t *testing.T) {
	const node = `"nodeId":"11111111-2222-4333-8444-555555555555"`
	tests := []struct {
		name, content, wantErr string
	}{
		{"empty", ``, "not an identity file"},
		{"cut", `{"format":1,` + node, "not an identity file"},
		{"another program's", `{"name":"x"}`, "format is 0"},
		{"an array", `[]`, "not an identity file"},
		{"unknown member", `{"format":1,` + node + `,"colour":"red"}`, `unknown field "colour"`},
		{"data after it", `{"format":1,` + node + `}{}`, "not an identity file"},
		{"no node id", `{"format":1}`, "nodeId"},
		{"bad cluster id", `{"format":1,` + node + `,"clusterId":"xyz"}`, "clusterId"},
		{"bad promise", `{"format":1,` + node + `,"promised":[{}]}`, "promised"},
		// What a newer version added must not hide that it is newer.
		{"newer", `{"format":2,"node":{"id":1}}`, "newer version: format 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), identityFile)
			writeTestFile(t, path, tt.content)
			_, err := openIdentity(filepath.Dir(path))
			wantError(t, err, tt.wantErr)
			wantError(t, err, path)
			if got, _ := os.ReadFile(path); string(got) != tt.content {
				t.Errorf("file was overwritten with %q", got)
			}
		})
	}
}

func writeTestFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, identityFile), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := openIdentity(dir)
	wantError(t, err, filepath.Join(dir, identityFile))
}

func TestDataDirectory(t *testing.T) {
	tests := []struct {
		name, file, wantErr string
	}{
		{"lost identity", "raft.db", "holds raft.db but no identity.json"},
		{"crash at first start", identityTemp, ""},
		{"released lock", lockFile, ""},
		{"fresh volume", "lost+found", ""},
		{"hidden file", ".keep", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeTestFile(t, filepath.Join(dir, tt.file), "{")
			id, err := openIdentity(dir)
			if wantError(t, err, tt.wantErr); err == nil {
				id.close()
			}
		})
	}
}

func TestDataDirectoryNotWritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeTestFile(t, file, "")
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := openIdentity(dir)
		wantError(t, err, file)
	}
	if os.Getuid() == 0 {
		return // permissions do not bind root
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := openIdentity(dir)
	wantError(t, err, "not writable")
}

// A crash between writing the temp file and renaming it leaves the record that
// the node had; so does a change that fails.
func TestIdentityChangeThatFails(t *testing.T) {
	dir := t.TempDir()
	id := openTestIdentity(t, dir)
	if err := os.Mkdir(filepath.Join(dir, identityTemp), 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, id.setClusterID([]byte("c")), "write identity")
	if ok, err := id.promise([]founder{{"n", "h:1"}}); ok || err == nil {
		t.Errorf("promise = %v, %v, want an error", ok, err)
	}
	if id.clusterID() != nil || id.promised() != nil {
		t.Errorf("memory holds what the disk refused: %+v", id.record)
	}
	id.close()
	if again := openTestIdentity(t, dir); again.nodeID() != id.nodeID() || again.clusterID() != nil {
		t.Errorf("read back %+v", again.record)
	}
}

func TestIdentityAfterClose(t *testing.T) {
	id := openTestIdentity(t, t.TempDir())
	for range 2 {
		if err := id.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	wantError(t, id.setName("late"), "closed")
}

func TestDataDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	id := openTestIdentity(t, dir)
	_, err := openIdentity(dir)
	wantError(t, err, dir+" is in use by another process")
	id.close()
	openTestIdentity(t, dir)
}

const lockHolderDir = "STATERAFT_TEST_LOCK_HOLDER_DIR"

// TestHoldLock is not a test of its own: TestLockOfAnotherProcess runs it in a
// second process, which holds the lock until its stdin ends.
func TestHoldLock(t *testing.T) {
	dir := os.Getenv(lockHolderDir)
	if dir == "" {
		t.Skip("runs in a second process only")
	}
	openTestIdentity(t, dir)
	os.Stdout.WriteString("locked\n")
	bufio.NewReader(os.Stdin).ReadByte()
}

func TestLockOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHoldLock$")
	cmd.Env = append(os.Environ(), lockHolderDir+"="+dir)
	if _, err := cmd.StdinPipe(); err != nil { // stays open: the process holds on
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("second process said %q", line)
	}
	_, err = openIdentity(dir)
	wantError(t, err, "in use by another process")

	// The lock of a process that is killed ends with it.
	cmd.Process.Kill()
	cmd.Wait()
	openTestIdentity(t, dir)
}
