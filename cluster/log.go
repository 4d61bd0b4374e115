package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// newRaftLogger makes the logger that hashicorp/raft writes to; its lines come
// out at l. l's level decides what is dropped.
func newRaftLogger(l *slog.Logger) hclog.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	h.RegisterSink(raftSink{l})
	return h
}

type raftSink struct{ log *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	ctx, to := context.Background(), slogLevel(level)
	if !s.log.Enabled(ctx, to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	s.log.Log(ctx, to, msg, args...)
}

func slogLevel(l hclog.Level) slog.Level {
	switch {
	case l >= hclog.Error:
		return slog.LevelError
	case l == hclog.Warn:
		return slog.LevelWarn
	case l == hclog.Info:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// newMemberlistLogger makes the logger that hashicorp/memberlist writes to;
// its lines come out at l.
func newMemberlistLogger(l *slog.Logger) *log.Logger {
	return log.New(memberlistWriter{l}, "", 0)
}

type memberlistWriter struct{ log *slog.Logger }

// memberlistLevels are the marks that memberlist's lines begin with.
var memberlistLevels = map[string]slog.Level{
	"[DEBUG]": slog.LevelDebug,
	"[INFO]":  slog.LevelInfo,
	"[WARN]":  slog.LevelWarn,
	"[ERR]":   slog.LevelError,
	"[ERROR]": slog.LevelError,
}

// Write takes one line: log.Logger writes each in one call.
func (w memberlistWriter) Write(line []byte) (int, error) {
	msg := strings.TrimSpace(string(line))
	level := slog.LevelInfo
	if mark, rest, ok := strings.Cut(msg, " "); ok {
		if l, known := memberlistLevels[mark]; known {
			level, msg = l, rest
		}
	}
	w.log.Log(context.Background(), level, strings.TrimPrefix(msg, "memberlist: "))
	return len(line), nil
}
