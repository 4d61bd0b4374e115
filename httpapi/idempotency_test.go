package httpapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/fsm"
)

func TestIdempotency(t *testing.T) {
	const path = "/v1/state/wf/k"
	x := newAPI(t)
	x.ok(x.post(path, `{"value":1,"ttl":60}`, headerIdempotency, "a"), `{"version":1}`)
	x.ok(x.post(path, `{"value":2}`), `{"version":2}`)

	// The same request, however it is written, has the first answer.
	same := []string{`{"value":1,"ttl":60}`, `{ "ttl" : 60.0, "value" : 1 }`}
	for _, body := range same {
		a := x.ok(x.post(path+"?returnCurrent=true", body, headerIdempotency, "a"), `{"version":1}`)
		if got := a.header.Get(headerRevision); got != "1" {
			t.Errorf("revision = %s, want 1", got)
		}
	}
	if x.revision() != 2 {
		t.Errorf("revision = %d: a second effect", x.revision())
	}

	others := []func() answer{
		func() answer { return x.post(path, `{"value":2,"ttl":60}`, headerIdempotency, "a") },
		func() answer { return x.post(path, `{"value":1}`, headerIdempotency, "a") },
		func() answer { return x.post("/v1/state/wf/k2", `{"value":1,"ttl":60}`, headerIdempotency, "a") },
		func() answer {
			return x.post(path, `{"value":1,"ttl":60}`, headerIdempotency, "a", headerIfMatch, "*")
		},
		func() answer {
			return x.post(path+"/version", `{"value":1,"ttl":60,"expectedVersion":0}`, headerIdempotency, "a")
		},
		func() answer { return x.delete(path, headerIdempotency, "a") },
		func() answer {
			return x.post("/v1/state/wf", `{"ops":[{"op":"set","key":"k","value":1,"ttl":60}]}`, headerIdempotency, "a")
		},
	}
	for i, other := range others {
		a := x.refused(other(), 422, "IDEMPOTENCY_MISMATCH")
		if a.json["outcome"] != "not_applied" || !strings.Contains(a.body, headerIdempotency) {
			t.Errorf("request %d: %s", i, a.body)
		}
	}

	x.ok(x.post("/v1/state/wf2/k", `{"value":1,"ttl":60}`, headerIdempotency, "a"), `{"version":1}`) // another scope
	x.ok(x.post(path, `{"value":1,"ttl":60}`, headerIdempotency, "b"), `{"version":3}`)
	x.cluster.advance(t, 10*time.Minute)
	x.ok(x.post(path, `{"value":9}`, headerIdempotency, "a"), "") // forgotten
}

// A request that comes again has its first answer also if a node of another build took
// it, which sums it up in another way.
func TestIdempotencyAcrossBuilds(t *testing.T) {
	const path = "/v1/state/wf/k"
	hashes := map[uint32]string{ // by protocol version, of builds that are in use
		1: "b4d877ddc4b1f59d49cd06106cf35095",
		2: "e61b67c6a58e432e92dca12d23eaa0a6",
	}
	for _, tt := range []struct {
		name      string
		then, now uint32
	}{
		{"before sessions", 1, 1},
		{"the version has risen since", 1, 2},
		{"this node has yet to hear that the version has risen", 2, 1},
		{"all know sessions", 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, second := newAPI(t), newAPI(t)
			first.cluster.raise(t, tt.then)
			first.ok(first.post(path, `{"value":1}`, headerIdempotency, "a"), `{"version":1}`)
			taken := first.cluster.commands[0]
			if got := hex.EncodeToString(taken.RequestHash); got != hashes[tt.then] {
				t.Errorf("hash %s, want %s", got, hashes[tt.then])
			}
			second.cluster.raise(t, tt.now)
			if _, err := second.cluster.Propose(t.Context(), taken); err != nil {
				t.Fatal(err)
			}
			second.ok(second.post(path, `{"value":1}`, headerIdempotency, "a"), `{"version":1}`)
			second.refused(second.post(path, `{"value":2}`, headerIdempotency, "a"), 422, "IDEMPOTENCY_MISMATCH")
			if second.revision() != 1 {
				t.Errorf("revision = %d: a second effect", second.revision())
			}
		})
	}
}

// A node that has just started sums a request up as the cluster's version has it,
// of which it may have yet to hear.
func TestIdempotencyAfterStart(t *testing.T) {
	x := newAPI(t)
	x.cluster.onReadIndex = func(context.Context) { x.cluster.raise(t, fsm.SessionsVersion) }
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`, headerIdempotency, "a"), `{"version":1}`)
	x.ok(x.post("/v1/state/wf/k", `{"value":1}`, headerIdempotency, "b"), `{"version":2}`)
	c := x.cluster.commands
	if len(c) != 2 || !bytes.Equal(c[0].RequestHash, c[1].RequestHash) {
		t.Errorf("commands %v", c)
	}
	if x.cluster.readIndexes != 1 {
		t.Errorf("%d read indexes, want one, until the version is known", x.cluster.readIndexes)
	}
}

// A conflict is an answer too, and stays one.
func TestIdempotentConflict(t *testing.T) {
	const path = "/v1/state/wf/k"
	tests := []struct {
		name   string
		status int
		send   func(x *api) answer
	}{
		{"409", 409, func(x *api) answer {
			return x.post(path+"/version", `{"value":1,"expectedVersion":1}`, headerIdempotency, "a")
		}},
		{"412", 412, func(x *api) answer {
			return x.post(path, `{"value":1}`, headerIfMatch, `"1"`, headerIdempotency, "a")
		}},
		{"412 on delete", 412, func(x *api) answer { return x.delete(path, headerIfMatch, `*`, headerIdempotency, "a") }},
		{"409 with the present value", 409, func(x *api) answer {
			return x.post(path+"/version?returnCurrent=true", `{"value":1,"expectedVersion":1}`, headerIdempotency, "a")
		}},
		{"409 of an atomic write", 409, func(x *api) answer {
			return x.post("/v1/state/wf", `{"ops":[{"op":"check","key":"k","expectedVersion":1}]}`, headerIdempotency, "a")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newAPI(t)
			first := x.refused(tt.send(x), tt.status, "VERSION_CONFLICT")
			x.ok(x.post(path, `{"value":0}`), `{"version":1}`) // the condition holds from here on
			again := x.refused(tt.send(x), tt.status, "VERSION_CONFLICT")
			if again.body != first.body || again.header.Get(headerRevision) != first.header.Get(headerRevision) {
				t.Errorf("answers differ:\n%s\n%s\n%v\n%v", first.body, again.body, first.header, again.header)
			}
		})
	}
}

// Neither scope nor key can be moved into the other.
func TestIdempotencyKeysAreUnambiguous(t *testing.T) {
	x := newAPI(t)
	x.ok(x.post("/v1/state/ab/k", `{"value":1}`, headerIdempotency, "c"), "")
	x.ok(x.post("/v1/state/a/k", `{"value":2}`, headerIdempotency, "bc"), `{"version":1}`)
	for _, c := range x.cluster.commands {
		if len(c.IdempotencyKey) != 16 || len(c.RequestHash) != 16 {
			t.Errorf("lengths %d and %d, want 16", len(c.IdempotencyKey), len(c.RequestHash))
		}
	}
	x.ok(x.post("/v1/state/a/k", `{"value":2}`), "")
	if c := x.cluster.commands[2]; c.IdempotencyKey != nil || c.RequestHash != nil {
		t.Error("a request without a key is remembered")
	}
}
