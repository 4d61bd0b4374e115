package logstore

import "testing"

func TestSpaceJudge(t *testing.T) {
	const mib = 1 << 20
	sp := &space{logger: quiet}
	steps := []struct {
		name               string
		free, inFile, size uint64
		want               bool
	}{
		{"plenty", 60 * mib, 0, 64 * mib, false},
		{"just enough", 7 * mib, 0, 64 * mib, false},
		{"below a tenth", 6 * mib, 0, 64 * mib, true},
		{"not yet at the high water", 9 * mib, 0, 64 * mib, true},
		{"above it", 10 * mib, 0, 64 * mib, false},
		{"room inside the file", 2 * mib, 6 * mib, 64 * mib, false},
		{"nothing outside it", 1 * mib, 60 * mib, 64 * mib, true},
		{"a little outside it", 3 * mib, 60 * mib, 64 * mib, false},
		{"a large disk", 257 * mib, 0, 1000 * 1024 * mib, false},
		{"a large disk, nearly full", 255 * mib, 0, 1000 * 1024 * mib, true},
	}
	for _, s := range steps {
		if sp.judge(s.free, s.inFile, s.size); sp.full.Load() != s.want {
			t.Errorf("%s: full is %v, want %v", s.name, !s.want, s.want)
		}
	}
	sp = &space{logger: quiet, low: 100, high: 1000}
	for _, free := range []uint64{99, 999} {
		if sp.judge(free, 0, 1); !sp.full.Load() {
			t.Errorf("%d bytes free of 100 to 1000: not full", free)
		}
	}
}
