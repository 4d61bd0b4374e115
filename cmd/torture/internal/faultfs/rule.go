package faultfs

import (
	"path"
	"slices"
	"syscall"
	"time"
)

// Op is a kind of operation.
type Op string

const (
	Read   Op = "read"
	Write  Op = "write"
	Sync   Op = "sync"   // of a file or a directory
	Resize Op = "resize" // of a file
	Create Op = "create" // of a file or a directory
	Rename Op = "rename" // the path is the new one
	Remove Op = "remove"
)

// Moment is one of an operation.
type Moment int

const (
	Never Moment = iota
	Before
	After // it has had its effect, but is not answered yet
)

// Rule is what happens to operations. What it says happens in the order of its
// fields.
type Rule struct {
	Op   Op     // empty: all
	Path string // within the disk, a pattern of path.Match; empty: all

	Skip  int // operations that match and are spared first
	Times int // operations that are hit then; 0: all

	Delay time.Duration // before the operation; the end of the rule ends it
	Errno syscall.Errno // in place of the operation

	// Crash cuts the power at that moment of the operation: no operation has an
	// effect from then on, until [Disk.Crash]. Crashed is called first, and must
	// send the processes that use the disk a SIGKILL without waiting for their
	// end: an operation that is under way is answered when it has returned.
	Crash   Moment
	Crashed func()
}

// rule is one in force.
type rule struct {
	Rule
	seen  int
	ended chan struct{}
}

// Add brings a rule into force, until the function that it returns is called,
// or Heal, or Crash.
func (d *Disk) Add(r Rule) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	added := &rule{Rule: r, ended: make(chan struct{})}
	d.rules = append(d.rules, added)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.end(func(r *rule) bool { return r == added })
	}
}

// Heal ends all rules and gives the room back that [Disk.Fill] took.
func (d *Disk) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heal()
}

// heal requires d.mu.
func (d *Disk) heal() {
	d.end(func(*rule) bool { return true })
	d.ballast = 0
}

// end requires d.mu.
func (d *Disk) end(which func(*rule) bool) {
	d.rules = slices.DeleteFunc(d.rules, func(r *rule) bool {
		if which(r) {
			close(r.ended)
			return true
		}
		return false
	})
}

// hits returns the rules that hit an operation.
func (d *Disk) hits(op Op, name string) []*rule {
	d.mu.Lock()
	defer d.mu.Unlock()
	var hit []*rule
	for _, r := range d.rules {
		if r.hits(op, name) {
			hit = append(hit, r)
		}
	}
	return hit
}

func (r *rule) hits(op Op, name string) bool {
	if r.Op != "" && r.Op != op {
		return false
	}
	if ok, err := path.Match(r.Path, name); r.Path != "" && (!ok || err != nil) {
		return false
	}
	r.seen++
	return r.seen > r.Skip && (r.Times == 0 || r.seen <= r.Skip+r.Times)
}

// do carries an operation out, as the rules have it.
func (d *Disk) do(op Op, name string, effect func() syscall.Errno) syscall.Errno {
	hit := d.hits(op, name)
	for _, r := range hit {
		r.wait()
		if r.Errno != 0 {
			return r.Errno
		}
		d.crash(r, Before)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		return syscall.EIO
	}
	answer := effect()
	for _, r := range hit {
		d.crashLocked(r, After)
	}
	if d.cut {
		return syscall.EIO
	}
	return answer
}

func (r *rule) wait() {
	if r.Delay == 0 {
		return
	}
	timer := time.NewTimer(r.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ended:
	}
}

func (d *Disk) crash(r *rule, m Moment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashLocked(r, m)
}

func (d *Disk) crashLocked(r *rule, m Moment) {
	if r.Crash != m || d.cut {
		return
	}
	d.cut = true
	if r.Crashed != nil {
		r.Crashed()
	}
}
