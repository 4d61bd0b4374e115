package httpapi

import (
	"strings"
	"testing"
)

func TestAtomicWrite(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/old", `{"value":1}`), "")
	a := x.ok(x.post("/v1/state/wf", ` { "ops" : [
		{"op":"set","key":"a","value": {"n": 1.0} , "ttl":60},
		{"op":"set","key":"b/ü","value":2,"expectedVersion":0},
		{"op":"delete","key":"old","expectedVersion":1},
		{"op":"delete","key":"absent"},
		{"op":"check","key":"nothing","expectedVersion":0}
	] } `), `{"results":[{"version":1},{"version":1},{"deleted":true,"version":2},{"deleted":false,"version":0},{"version":0}]}`)
	if got := a.header.Get(headerRevision); got != "4" {
		t.Errorf("revision = %s, want 4", got)
	}
	if got := a.header.Get("ETag"); got != "" {
		t.Errorf("ETag of several entries: %s", got)
	}
	if !x.cluster.commands[1].Atomic || x.cluster.commands[1].Ops[0].Ttl != 60_000_000 {
		t.Errorf("command: %v", x.cluster.commands[1])
	}
	x.ok(x.get("/v1/state/wf"), `{"keys":["a","b/ü"]}`)
	if got := x.get("/v1/state/wf/a").body; !strings.HasPrefix(got, `{"value":{"n":1.0},"version":1,`) {
		t.Errorf("a = %s", got)
	}
	x.ok(x.post("/v1/state/wf", `{"ops":[{"op":"check","key":"a","expectedVersion":1}]}`), `{"results":[{"version":1}]}`)
}

func TestAtomicConflict(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/wf/a", `{"value":[1, 2]}`), "")
	body := `{"ops":[
		{"op":"set","key":"new","value":1},
		{"op":"check","key":"a","expectedVersion":9},
		{"op":"delete","key":"a2","expectedVersion":9}]}`
	a := x.refused(x.post("/v1/state/wf", body), 409, "VERSION_CONFLICT")
	if a.number("op") != 1 || a.number("expectedVersion") != 9 || a.number("currentVersion") != 1 {
		t.Errorf("conflict: %s", a.body)
	}
	if message := a.json["message"].(string); !strings.HasPrefix(message, "ops[1]: ") {
		t.Errorf("message: %s", message)
	}
	a = x.refused(x.post("/v1/state/wf?returnCurrent=true", body), 409, "VERSION_CONFLICT")
	if !strings.HasSuffix(a.body, `"op":1,"expectedVersion":9,"currentVersion":1,"currentValue":[1,2]}`) {
		t.Errorf("conflict: %s", a.body)
	}
	x.ok(x.get("/v1/state/wf"), `{"keys":["a"]}`)
	if x.revision() != 1 {
		t.Errorf("revision = %d: something was changed", x.revision())
	}
}

// The first operation's index is told too, though it is 0.
func TestAtomicConflictOfFirst(t *testing.T) {
	x := newAPI(t)
	a := x.refused(x.post("/v1/state/wf", `{"ops":[{"op":"set","key":"a","value":1,"expectedVersion":5}]}`), 409, "VERSION_CONFLICT")
	if a.number("op") != 0 || a.number("currentVersion") != 0 {
		t.Errorf("conflict: %s", a.body)
	}
}
