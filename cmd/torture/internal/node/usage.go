package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Figures returns the figures without labels that the node tells at /metrics.
func (n *Node) Figures(ctx context.Context) (map[string]float64, error) {
	conn, err := (&net.Dialer{Timeout: askTimeout}).DialContext(ctx, "tcp", strings.TrimPrefix(n.URL, "http://"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(askTimeout))
	if _, err := fmt.Fprintf(conn, "GET /metrics HTTP/1.0\r\n%s\r\n", n.Authorization()); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || !strings.Contains(lines.Text(), " 200 ") {
		return nil, fmt.Errorf("figures of %s: %q", n.Name, lines.Text())
	}
	figures := map[string]float64{}
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			figures[name] = v
		}
	}
	return figures, lines.Err()
}

// Log returns the first and the last index of the node's log.
func (n *Node) Log(ctx context.Context) (first, last uint64, err error) {
	f, err := n.Figures(ctx)
	if err != nil {
		return 0, 0, err
	}
	last = uint64(f["stateraft_log_last_index"])
	return last + 1 - uint64(f["stateraft_log_entries"]), last, nil
}

// Resident returns the bytes of memory that the node's process has.
func (n *Node) Resident() (int64, error) { return n.memory("VmRSS") }

// DataBytes is how much memory of the process counts for its limit "data".
func (n *Node) DataBytes() (int64, error) { return n.memory("VmData") }

// memory is a figure that the kernel has of the process. It answers when the
// process does not.
func (n *Node) memory(name string) (int64, error) {
	pid, err := n.pid()
	if err != nil {
		return 0, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, name+": %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no " + name + " in /proc")
}

// DiskBytes is what the files in the data directory take. What goes while it
// looks is not counted.
func (n *Node) DiskBytes() (bytes int64) {
	filepath.WalkDir(n.Data(), func(_ string, d fs.DirEntry, err error) error { // it returns no error
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}
