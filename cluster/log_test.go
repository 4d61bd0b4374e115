package cluster

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// textLog returns a logger of that level and what it has written.
func textLog(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})), &b
}

func TestRaftLogger(t *testing.T) {
	tests := []struct {
		name string
		log  func(hclog.Logger)
		want string
	}{
		{"error", func(l hclog.Logger) { l.Error("broken", "peer", "n1") }, "level=ERROR msg=broken peer=n1\n"},
		{"warn", func(l hclog.Logger) { l.Warn("odd") }, "level=WARN msg=odd\n"},
		{"info", func(l hclog.Logger) { l.Info("fine") }, "level=INFO msg=fine\n"},
		{"below the level", func(l hclog.Logger) { l.Debug("detail"); l.Trace("more") }, ""},
		{"implied", func(l hclog.Logger) { l.Named("raft").With("term", 3).Info("vote") }, "level=INFO msg=vote term=3\n"},
		{"formatted", func(l hclog.Logger) { l.Info("servers", "all", hclog.Fmt("%d of %d", 1, 3)) }, "level=INFO msg=servers all=\"1 of 3\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, out := textLog(slog.LevelInfo)
			if tt.log(newRaftLogger(l)); out.String() != tt.want {
				t.Errorf("got %q, want %q", out, tt.want)
			}
		})
	}
}

func TestMemberlistLogger(t *testing.T) {
	tests := []struct {
		line, want string
	}{
		{"[ERR] memberlist: Failed to send", "level=ERROR msg=\"Failed to send\"\n"},
		{"[WARN] memberlist: Refuting", "level=WARN msg=Refuting\n"},
		{"[INFO] memberlist: Suspect", "level=INFO msg=Suspect\n"},
		{"[DEBUG] memberlist: Stream connection", ""},
		{"plain words", "level=INFO msg=\"plain words\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			l, out := textLog(slog.LevelInfo)
			if newMemberlistLogger(l).Print(tt.line); out.String() != tt.want {
				t.Errorf("got %q, want %q", out, tt.want)
			}
		})
	}
}
