package names

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	tests := []struct{ name, want string }{
		{"k", ""},
		{"...", ""},
		{"é/ \u202e", ""},
		{strings.Repeat("k", 8), ""},
		{"", "must not be empty"},
		{".", `must not be "."`},
		{"..", `must not be ".."`},
		{strings.Repeat("é", 5), "must be at most 8 bytes, not 10"},
		{"a\xff", "must be valid UTF-8"},
		{"a\x00", "must not hold control characters"},
		{"a\u0085", "must not hold control characters"},
	}
	for _, tt := range tests {
		got := ""
		if err := Check(tt.name, 8); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.name, got, tt.want)
		}
	}
}
