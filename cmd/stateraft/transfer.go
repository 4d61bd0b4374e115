package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	transferInterval = 100 * time.Millisecond
	transferWidth    = 30 // characters
)

// A transfer shows on a terminal how many bytes have passed, and as a bar of how
// many if that is known. Elsewhere it only counts.
type transfer struct {
	w     io.Writer
	shown bool
	what  string
	bytes uint64
	total uint64 // 0: not known
	begin time.Time
	last  time.Time
}

func newTransfer(w io.Writer, what string, total uint64) *transfer {
	return &transfer{w: w, shown: isTerminal(w), what: what, total: total, begin: time.Now()}
}

// Write counts b.
func (p *transfer) Write(b []byte) (int, error) {
	p.bytes += uint64(len(b))
	if p.shown && time.Since(p.last) >= transferInterval {
		p.last = time.Now()
		fmt.Fprint(p.w, "\r\x1b[K"+p.line())
	}
	return len(b), nil
}

func (p *transfer) line() string {
	rate := uint64(float64(p.bytes) / max(time.Since(p.begin).Seconds(), 0.001))
	text := fmt.Sprintf("%s %s, %s/s", humanBytes(p.bytes), p.what, humanBytes(rate))
	if p.total == 0 {
		return text
	}
	done := int(min(p.bytes, p.total) * transferWidth / p.total)
	return "[" + strings.Repeat("=", done) + strings.Repeat(" ", transferWidth-done) + "] " + text
}

// end clears the line.
func (p *transfer) end() error {
	if !p.shown {
		return nil
	}
	_, err := fmt.Fprint(p.w, "\r\x1b[K")
	return err
}

// humanBytes writes a size with three digits at most before its unit.
func humanBytes(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n), -1
	for ; v >= unit && i < 3; i++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[i])
}
