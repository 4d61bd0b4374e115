package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/httpapi/auth"
)

const (
	queryForce = "force"

	backupType = "application/octet-stream"

	// backupStall is how long a client may take or bring nothing of a backup
	// until its connection is closed.
	backupStall = 30 * time.Second

	// drainBytes is how much more is read of a file that is refused, so that its
	// sender hears why, and not that the connection broke.
	drainBytes = 64 << 20
)

// backup serves GET /v1/backup: what the cluster held at one moment, of all
// projects, while writes go on. A client that reads slowly keeps what was
// replaced meanwhile in memory, so there is one at a time.
func (s *Server) backup(w http.ResponseWriter, r *request) error {
	if !s.backups.TryLock() {
		return overLimit(1, 1, "this node is at another backup")
	}
	defer s.backups.Unlock()
	if _, err := s.consistent(r); err != nil {
		return err
	}
	b := s.cluster.Backup(auth.Namespace)
	setRevision(w, b.Info().Revision)
	h := w.Header()
	h.Set("Content-Type", backupType)
	h.Set("Content-Disposition", `attachment; filename="stateraft-`+strconv.FormatUint(b.Info().Revision, 10)+`.backup"`)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	body := &patientBody{w: w, conn: http.NewResponseController(w)}
	_ = body.conn.SetReadDeadline(time.Time{}) // where there is none, in tests, none passes
	if err := b.Save(body); err != nil {
		panic(http.ErrAbortHandler) // the client sees that the file is cut
	}
	_ = body.conn.SetWriteDeadline(time.Now().Add(backupStall)) // for what is left to be written
	return nil
}

// restore serves POST /v1/restore, whose body is a backup.
func (s *Server) restore(w http.ResponseWriter, r *request) error {
	force, err := r.flag(queryForce)
	if err != nil {
		return err
	}
	patience, err := r.timeout()
	if err != nil {
		return err
	}
	body := &patientBody{r: r.Body, conn: http.NewResponseController(w)}
	_ = body.conn.SetWriteDeadline(time.Time{}) // where there is none, in tests, none passes
	done, err := s.cluster.Restore(r.Context(), body, cluster.Restore{Force: force, Keep: auth.Namespace, Patience: patience})
	_ = body.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil {
		_, _ = io.CopyN(io.Discard, body, drainBytes) // the sender may be gone
		return bodyFailure(body, err)
	}
	s.log.Info("the state was restored from a backup", "of", done.ClusterID, "revision", done.At, "by", r.principal.ID)
	setRevision(w, done.At)
	return writeDocument(w, restored{Revision: done.At, Keys: done.Keys, Backup: done.BackupInfo.Revision})
}

type restored struct {
	Revision uint64 `json:"revision"` // of the state from then on
	Keys     uint64 `json:"keys"`     // in the backup
	Backup   uint64 `json:"backup"`   // its revision
}

// bodyFailure tells a body that could not be read from what else went wrong.
func bodyFailure(body *patientBody, err error) error {
	if body.err != nil && errors.Is(err, body.err) {
		return bodyError(err, 0)
	}
	return err
}

// A patientBody is a body that may take as long as it likes while bytes flow.
// Deadlines hold while it waits for the client only: over HTTP/2 they end a
// stream also when the node takes its time.
type patientBody struct {
	w    io.Writer
	r    io.Reader
	conn *http.ResponseController
	err  error // why reading failed
}

func (b *patientBody) Write(p []byte) (int, error) {
	_ = b.conn.SetWriteDeadline(time.Now().Add(backupStall))
	defer func() { _ = b.conn.SetWriteDeadline(time.Time{}) }()
	return b.w.Write(p)
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(backupStall))
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
		return n, err
	}
	_ = b.conn.SetReadDeadline(time.Time{})
	return n, err
}

// NamespaceKind says what a namespace of the state machine holds, for people.
func NamespaceKind(namespace string) string {
	kind, _, _ := strings.Cut(namespace, "\x00")
	switch kind {
	case workflows:
		return "workflows"
	case subjects:
		return "subjects"
	case strings.TrimSuffix(auth.Namespace, "\x00"):
		return "API keys"
	}
	return "other"
}
