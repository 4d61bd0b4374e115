package httpapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cluster"
	"github.com/stateraft/stateraft/internal/contract"
)

var contractDir = contract.Dir("..")

// conditions bring a node into the states that the contract's files name.
var conditions = map[string]func(*api){
	"no leader":        failing(cluster.ErrNoLeader),
	"behind":           failing(cluster.ErrBehind),
	"revision unknown": failing(cluster.ErrRevisionUnknown),
	"overloaded":       failing(cluster.ErrOverloaded),
	"disk full":        failing(cluster.ErrDiskFull),
	"outcome unknown":  failing(cluster.ErrOutcomeUnknown),
	"internal error":   failing(errFake),
	"not ready":        func(x *api) { x.cluster.setReady(errors.New("no leader is known")) },
	"short history":    func(x *api) { x.cluster.limitHistory(x.tb, 5) },
	"small values":     func(*api) {}, // how the node was started: see configured
	"auth":             func(*api) {},
}

func failing(err error) func(*api) {
	return func(x *api) { x.cluster.proposeErr, x.cluster.readErr, x.cluster.waitErr = err, err, err }
}

// configured starts a node as the conditions among given want it, and returns
// the tokens that stand for those in the files.
func configured(t *testing.T, given []contract.Given) (x *api, tokens *strings.Replacer) {
	has := func(condition string) bool {
		return slices.ContainsFunc(given, func(g contract.Given) bool { return g.Condition == condition })
	}
	x = newAPI(t, func(c *Config) {
		if has("small values") {
			c.MaxValueBytes = 100
		}
		if has("auth") {
			withAuth(c)
		}
	})
	if !has("auth") {
		return x, strings.NewReplacer()
	}
	reader, _ := x.newKey(`"scopes":["state:read"],"prefixes":["wf"]`)
	writer, _ := x.newKey(`"scopes":["state:read","state:write"]`)
	return x, strings.NewReplacer("Bearer reader", "Bearer "+reader, "Bearer writer", "Bearer "+writer)
}

// bring has what is given happen to the node.
func (x *api) bring(given []contract.Given) {
	x.tb.Helper()
	for _, g := range given {
		condition, known := conditions[g.Condition]
		switch {
		case known:
			condition(x)
		case g.Condition != "":
			x.tb.Fatalf("unknown condition %q", g.Condition)
		case g.Advance > 0:
			x.cluster.advance(x.tb, time.Duration(g.Advance*float64(time.Second)))
		default:
			x.ok(x.do(g.Method, g.Path, g.Body, headerList(g.Headers)...), "")
		}
	}
}

func headerList(headers map[string]string) (list []string) {
	for name, value := range headers {
		list = append(list, name, value)
	}
	return list
}

// TestContractCalls has a node answer every request of the contract's files as
// the clients' tests expect it.
func TestContractCalls(t *testing.T) {
	checked := 0
	for file, cases := range contract.Calls(t, contractDir) {
		for _, c := range cases {
			if c.Server != nil && !*c.Server {
				continue
			}
			t.Run(strings.TrimSuffix(file, ".json")+"/"+c.Name, func(t *testing.T) {
				x, tokens := configured(t, c.Given)
				x.bring(c.Given)
				for _, s := range c.Steps {
					for _, e := range s.Exchanges {
						x.checkExchange(e, tokens)
						checked++
					}
				}
			})
		}
	}
	if checked < 300 {
		t.Errorf("only %d requests: the files have been missed", checked)
	}
}

func (x *api) checkExchange(e contract.Exchange, tokens *strings.Replacer) {
	x.tb.Helper()
	headers := headerList(e.Request.Headers)
	for i := range headers {
		headers[i] = tokens.Replace(headers[i])
	}
	a := x.do(e.Request.Method, e.Request.Path, e.Request.Body, headers...)
	if got, want := withoutMessage(a.body), withoutMessage(e.Response.Body); a.status != e.Response.Status || got != want {
		x.tb.Errorf("%s %s %s\ngot  %d %s\nwant %d %s", e.Request.Method, e.Request.Path, e.Request.Body, a.status, a.body, e.Response.Status, e.Response.Body)
	}
	for name, want := range e.Response.Headers {
		if got := a.header.Get(name); got != want {
			x.tb.Errorf("%s %s: %s = %q, want %q", e.Request.Method, e.Request.Path, name, got, want)
		}
	}
}

var message = regexp.MustCompile(`"message":"(\\.|[^"\\])+"`)

// withoutMessage leaves out what may change.
func withoutMessage(body string) string { return message.ReplaceAllString(body, `"message":…`) }

// TestContractStreams has a node send the streams of the contract's files, byte
// by byte.
func TestContractStreams(t *testing.T) {
	checked := 0
	for file, cases := range contract.Streams(t, contractDir) {
		for _, c := range cases {
			if c.Server == nil {
				continue
			}
			checked++
			t.Run(strings.TrimSuffix(file, ".json")+"/"+c.Name, func(t *testing.T) {
				x, _ := configured(t, c.Server.Given)
				x.bring(c.Server.Given)
				request, want := c.Connections[0].Request, ""
				for _, chunk := range c.Connections[0].Response.Chunks {
					want += string(chunk)
				}
				r := open(t, x.serve(), request.Path, slices.Concat(acceptEvents, headerList(request.Headers))...)
				blocks := strings.SplitAfter(want, "\n\n")
				begun := 1 + slices.IndexFunc(blocks, func(b string) bool { return strings.Contains(b, "id: ") })
				r.blocks(blocks[:begun]...)
				x.bring(c.Server.Writes)
				r.blocks(blocks[begun : len(blocks)-1]...)
				x.checkSilence(r)
			})
		}
	}
	if checked < 10 {
		t.Errorf("only %d streams: the files have been missed", checked)
	}
}

// checkSilence ends the stream, and fails the test if it tells more.
func (x *api) checkSilence(r *reader) {
	x.tb.Helper()
	x.server.streams.Close()
	for rest := r.block(); rest != ""; rest = r.block() {
		if rest != ": keep-alive\n\n" {
			x.tb.Errorf("and then %q", rest)
		}
	}
}

// Every code that a node can answer with is in errors.json as it is here, and
// none else is.
func TestContractErrors(t *testing.T) {
	type row struct {
		status []int
		agent  []string
	}
	have := map[string]row{}
	for _, c := range allCodes {
		r := have[c.name]
		if !slices.Contains(r.status, c.status) {
			r.status = append(r.status, c.status)
		}
		if !slices.Contains(r.agent, c.agent) {
			r.agent = append(r.agent, c.agent)
		}
		have[c.name] = r
	}
	for _, e := range contract.Errors(t, contractDir) {
		if e.From != "node" {
			continue
		}
		r, ok := have[e.Code]
		slices.Sort(r.agent)
		slices.Sort(e.Agent)
		if want := (row{e.Status, e.Agent}); !ok || fmt.Sprint(r) != fmt.Sprint(want) {
			t.Errorf("%s: the node has %v, the contract %v", e.Code, r, want)
		}
		delete(have, e.Code)
	}
	for name := range have {
		t.Errorf("%s is not in errors.json", name)
	}
}

// Each method of the contract has its route.
func TestContractMethods(t *testing.T) {
	x := newAPI(t)
	named := regexp.MustCompile(`[:*](\w+)`)
	routes := map[string]bool{}
	for _, rt := range x.server.table {
		routes[rt.method+" "+named.ReplaceAllString(rt.pattern, "{$1}")] = true
	}
	for _, m := range contract.Methods(t, contractDir) {
		if !routes[m.Request] {
			t.Errorf("%s: no route %s", m.Method, m.Request)
		}
	}
}

// allCodes are the codes of error.go.
var allCodes = []code{
	codeInvalidRequest, codeInvalidBody, codeMissingSubject, codeInvalidKey, codeInvalidTTL, codeValueRequired, codeUnauthorized,
	codeForbidden, codeNotFound, codeMethodNotAllowed, codeVersionConflict, codePreconditionFailed, codeRefused, codeRevisionUnknown,
	codeTooLarge, codeDiskFull, codeMismatch, codeOverloaded, codeLimit, codeInternal, codeNoLeader, codeBehind, codeNotReady, codeOutcomeUnknown,
}
