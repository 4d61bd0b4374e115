package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// maxLine bounds a line of a stream.
const maxLine = 2 << 20

// Feed is a stream that can be asked for.
type Feed struct {
	Workflow string
	Agent    bool   // Workflow is a subject of Agent State
	Key      string // of one key; empty: of all
	Prefix   string // of the keys that begin so
	Token    string // API key; empty: the node's
	Fresh    bool   // without a Last-Event-ID: what happens from then on
	Opened   func() // called when the node has taken the request
}

// target is the path and the query of the request.
func (f Feed) target() string {
	path := "/v1/state/" + url.PathEscape(f.Workflow)
	if f.Agent {
		path = "/api/v1/state"
	}
	if f.Key != "" {
		path += "/" + url.PathEscape(f.Key)
		if !f.Agent {
			path += "/stream"
		}
	}
	if f.Prefix != "" {
		path += "?prefix=" + url.QueryEscape(f.Prefix)
	}
	return path
}

// Follow reads a stream at this node from behind the cursor, a
// revision, and hands each event over, until the stream ends or ctx does. The
// cursor moves with each whole block that carries an id, as Last-Event-ID of a
// browser does.
func (n *Node) Follow(ctx context.Context, f Feed, cursor *uint64, take func(history.Event)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.base+f.target(), nil)
	if err != nil {
		return err
	}
	n.authorize(req, f.Token)
	req.Header.Set("Accept", "text/event-stream")
	if f.Agent {
		req.Header.Set("X-Subject-ID", f.Workflow)
	}
	if !f.Fresh {
		req.Header.Set("Last-Event-ID", strconv.FormatUint(*cursor, 10))
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	if f.Opened != nil {
		f.Opened()
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	var b block
	for ctx.Err() == nil && lines.Scan() {
		if lines.Text() != "" {
			b.add(lines.Text())
			continue
		}
		if err := b.end(cursor, take); err != nil {
			return err
		}
		b = block{}
	}
	return errors.Join(ctx.Err(), lines.Err())
}

// RefusedError says why a node gave no stream, or what it sent in place of one.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return e.Why }

// refusal reads why a node gives no stream.
func refusal(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	return &RefusedError{read(Request{Kind: history.Open}, resp.StatusCode, body).Error}
}

// block is what stands between two empty lines.
type block struct{ event, id, data string }

func (b *block) add(line string) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "event":
		b.event = value
	case "id":
		b.id = value
	case "data":
		b.data = value
	}
}

func (b *block) end(cursor *uint64, take func(history.Event)) error {
	if b.data != "" {
		e, err := b.decode()
		if err != nil {
			return err
		}
		take(e)
	}
	if b.id != "" {
		id, err := strconv.ParseUint(b.id, 10, 64)
		if err != nil {
			return &RefusedError{fmt.Sprintf("%s: the id of an event: %v", foreign, err)}
		}
		*cursor = id
	}
	return nil
}

func (b *block) decode() (history.Event, error) {
	var d struct {
		Type               string
		WorkflowID         string
		Subject            string `json:"subject_id"`
		Key                string
		OldValue, NewValue json.RawMessage
		Version, Revision  uint64
		Tx                 struct{ First, Last uint64 }
	}
	if err := json.Unmarshal([]byte(b.data), &d); err != nil {
		return history.Event{}, &RefusedError{fmt.Sprintf("%s: the data of an event: %v", foreign, err)}
	}
	if b.event != "" {
		d.Type = b.event
	}
	return history.Event{
		Type: d.Type, Key: d.Key, Old: string(d.OldValue), New: string(d.NewValue), Version: d.Version, Revision: d.Revision,
		First: d.Tx.First, Last: d.Tx.Last, Scope: d.WorkflowID + d.Subject,
	}, nil
}
