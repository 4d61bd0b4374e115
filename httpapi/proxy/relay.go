package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An answer is the way back to the caller.
type answer struct {
	http.ResponseWriter
	conn *http.ResponseController
}

// newAnswer takes over the connection's write deadline: the answer may begin
// only after wait. Where deadlines are not supported, in tests, nothing is lost.
func newAnswer(w http.ResponseWriter, wait time.Duration) *answer {
	a := &answer{w, http.NewResponseController(w)}
	a.allow(wait)
	return a
}

// allow gives the caller until stallTimeout after wait to read.
func (a *answer) allow(wait time.Duration) {
	_ = a.conn.SetWriteDeadline(time.Now().Add(wait + stallTimeout))
}

// wait takes the caller's deadline away: it is the upstream's turn. Over HTTP/2
// a deadline ends a stream also while nothing is written.
func (a *answer) wait() { _ = a.conn.SetWriteDeadline(time.Time{}) }

// send writes b and sees to it that it leaves.
func (a *answer) send(b []byte) error {
	a.allow(0)
	defer a.wait()
	if len(b) > 0 { // some answers may have no body
		if _, err := a.Write(b); err != nil {
			return err
		}
	}
	return a.conn.Flush()
}

// relay passes an upstream's answer on.
func (c *call) relay(res *http.Response) error {
	c.out.wait()
	body := &source{res.Body, c.watchdog}
	var begun []byte
	if c.told.inBody() && tellable(res) {
		var err error
		if begun, err = c.tell(res.Header, body); err != nil {
			c.out.allow(0) // to hear of it
			return err
		}
	}
	responseHeader(c.out.Header(), res.Header)
	c.told.header(c.out.Header())
	c.out.WriteHeader(res.StatusCode)
	if c.out.send(begun) != nil || !c.copy(body) {
		panic(http.ErrAbortHandler)
	}
	c.out.allow(0) // to take what is left
	return nil
}

// tellable reports whether an answer may be one that gets the member mnx.
func tellable(res *http.Response) bool {
	if res.StatusCode < 200 || res.StatusCode > 299 || res.ContentLength > maxTellBytes {
		return false
	}
	if e := res.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return false
	}
	t, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && t == "application/json"
}

// tell reads an answer whole, adds the member mnx and corrects header. An
// answer that is too long for that is only begun to be read, and stays as it is.
func (c *call) tell(header http.Header, body io.Reader) (begun []byte, err error) {
	begun, err = io.ReadAll(io.LimitReader(body, maxTellBytes+1))
	if err != nil {
		_, err = c.failed(err)
		return nil, err
	}
	if len(begun) > maxTellBytes {
		return begun, nil
	}
	if told, ok := c.told.addTo(begun); ok {
		begun = told
		header.Set("Content-Length", strconv.Itoa(len(begun)))
	}
	return begun, nil
}

// copy passes bytes on as they come, and reports whether all of them came and
// were taken.
func (c *call) copy(body io.Reader) bool {
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	for {
		n, err := body.Read(*buf)
		if n > 0 && c.out.send((*buf)[:n]) != nil {
			return false
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			_, _ = c.failed(err) // which logs it, if it is the upstream's
			return false
		}
	}
}
