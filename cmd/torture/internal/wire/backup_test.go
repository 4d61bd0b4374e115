package wire

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Ensure an empty file is no backup.
func TestEmptyBackup(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Stateraft-Revision", "7")
	}))
	defer srv.Close()
	file, a := NewNode("n1", srv.URL).Backup(t.Context())
	if len(file) > 0 || a.Outcome != history.Unknown || a.Passes() {
		t.Errorf("%q, %+v", file, a)
	}
}
