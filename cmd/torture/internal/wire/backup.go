package wire

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// backupPatience bounds a backup or a restore with all that it moves.
const backupPatience = 20 * time.Second

// Backup reads a backup from the node; the answer has its revision.
func (n *Node) Backup(ctx context.Context) ([]byte, Answer) {
	file, resp, err := n.move(ctx, http.MethodGet, "/v1/backup", nil)
	switch {
	case err != nil:
		return nil, noAnswer(history.Backup, err)
	case resp.StatusCode != http.StatusOK:
		return nil, read(Request{Kind: history.Backup}, resp.StatusCode, file)
	case len(file) == 0:
		return nil, Answer{Outcome: history.Unknown, Error: foreign + ": an empty backup"}
	}
	a := Answer{Outcome: history.OK}
	a.Revision, _ = strconv.ParseUint(resp.Header.Get("X-Stateraft-Revision"), 10, 64)
	return file, a
}

// busy is why a node that takes any backup refuses one: it is at another, which
// may be one that nobody waits for any more.
const busy = "at another restore"

// Restore sends a backup to the node, whose cluster may hold something already
// if force is given.
func (n *Node) Restore(ctx context.Context, file []byte, force bool) Answer {
	target := "/v1/restore"
	if force {
		target += "?force=true"
	}
	body, resp, err := n.move(ctx, http.MethodPost, target, file)
	if err != nil {
		return Answer{Outcome: history.Unknown, Error: "no answer"}
	}
	a := read(Request{Kind: history.Set}, resp.StatusCode, body)
	if force && a.Error == "REFUSED" {
		a.Error = busy
	}
	return a
}

// move sends and reads what may be large.
func (n *Node) move(ctx context.Context, method, target string, file []byte) ([]byte, *http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, backupPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.base+target, bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	n.authorize(req, "")
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBackup))
	return body, resp, err
}

// maxBackup bounds a backup that is read.
const maxBackup = 256 << 20
