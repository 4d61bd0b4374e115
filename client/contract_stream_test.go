package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/internal/contract"
)

// TestContractStreams has the client subscribe through every stream of the
// contract's files.
func TestContractStreams(t *testing.T) {
	for file, cases := range contract.Streams(t, contractDir) {
		if len(cases) == 0 {
			t.Errorf("%s has no cases", file)
		}
		for _, c := range cases {
			t.Run(strings.TrimSuffix(file, ".json")+"/"+c.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &script{t: t, streaming: true}
					s.subscribe(c)
				})
			})
		}
	}
}

// enough is longer than any pause of the files, and than nodes are silent for.
const enough = 5 * time.Minute

func (s *script) subscribe(c contract.Stream) {
	cl := s.client(c.Client)
	s.expects(c.Connections)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Hour) // so that one that goes round in circles ends
	defer cancel()
	sub, err := subscriptions[c.Subscribe.Method](ctx, cl, c.Subscribe.Args)
	if err != nil {
		s.checkEnd(c, err)
		s.done()
		return
	}
	defer sub.Close()
	for _, want := range c.Events {
		e, err := sub.Next()
		if err != nil || s.t.Failed() {
			s.t.Fatalf("got %v, want %s", err, want)
		}
		checkEqual(s.t, "event", event(e, want), want)
	}
	idle := time.AfterFunc(time.Second, sub.Close) // less than a keep-alive takes
	defer idle.Stop()
	if c.Error != nil {
		idle.Reset(enough)
	}
	e, err := sub.Next()
	if err == nil {
		s.t.Errorf("one event too many: %+v", e)
	}
	s.checkEnd(c, err)
	s.done()
	for i, b := range s.bodies {
		if !b.closed {
			s.t.Errorf("stream %d was not closed", i)
		}
	}
}

func (s *script) checkEnd(c contract.Stream, err error) {
	s.t.Helper()
	if c.Error != nil {
		checkError(s.t, err, c.Error)
	} else if !errors.Is(err, client.ErrClosed) {
		s.t.Errorf("ended with %v", err)
	}
}

// event is in the form of the contract, with the values decoded or as text as
// want has them.
func event(e client.Event, want json.RawMessage) any {
	all := map[string]any{"type": e.Type}
	put := func(name string, value any, there bool) {
		if there {
			all[name] = value
		}
	}
	var form struct{ Raw map[string]string }
	_ = json.Unmarshal(want, &form)
	hasValues := e.Type != client.EventResync && e.Type != client.EventSynced
	put("workflow", e.Workflow, e.Workflow != "")
	put("subject", e.Subject, e.Subject != "")
	put("key", e.Key, e.Key != "")
	put("version", e.Version, e.Version != 0)
	put("revision", e.Revision, e.Revision != 0 || e.Type == client.EventSynced)
	put("tx", e.Tx, e.Tx != client.Tx{})
	put("oldValue", e.OldValue, hasValues && form.Raw == nil)
	put("newValue", e.NewValue, hasValues && form.Raw == nil)
	put("raw", map[string]string{"oldValue": string(e.OldValue), "newValue": string(e.NewValue)}, form.Raw != nil)
	return all
}

var subscriptions = map[string]func(context.Context, *client.Client, contract.Args) (*client.Subscription, error){
	"state.subscribe": func(ctx context.Context, c *client.Client, a contract.Args) (*client.Subscription, error) {
		return c.State.Subscribe(ctx, a.Workflow, a.Key, subscribeOptions(a)...)
	},
	"state.subscribeWorkflow": func(ctx context.Context, c *client.Client, a contract.Args) (*client.Subscription, error) {
		return c.State.SubscribeWorkflow(ctx, a.Workflow, subscribeOptions(a)...)
	},
	"agent.subscribe": func(ctx context.Context, c *client.Client, a contract.Args) (*client.Subscription, error) {
		return c.Agent.Subscribe(ctx, a.Subject, a.Key, subscribeOptions(a)...)
	},
	"agent.subscribeSubject": func(ctx context.Context, c *client.Client, a contract.Args) (*client.Subscription, error) {
		return c.Agent.SubscribeSubject(ctx, a.Subject, subscribeOptions(a)...)
	},
}

func subscribeOptions(a contract.Args) (opts []client.SubscribeOption) {
	if a.Prefix != "" {
		opts = append(opts, client.Prefix(a.Prefix))
	}
	if a.Snapshot {
		opts = append(opts, client.Snapshot())
	}
	if a.FromRevision != nil {
		opts = append(opts, client.FromRevision(*a.FromRevision))
	}
	return opts
}
