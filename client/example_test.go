package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/stateraft/stateraft/client"
)

// open returns a client for an example, and its end: of the cluster that the
// environment names, whose keys are none yet, or else of a fake.
func open() (*client.Client, func()) {
	endpoints, end := strings.Fields(os.Getenv("STATERAFT_TEST_ENDPOINTS")), func() {}
	if len(endpoints) == 0 {
		node := httptest.NewServer(newFakeNode())
		endpoints, end = []string{node.URL}, node.Close
	}
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	return c, func() { c.Close(); end() }
}

func Example() {
	c, end := open()
	defer end()
	ctx := context.Background()

	version, err := c.State.Set(ctx, "wf-1", "status", map[string]string{"step": "researching"})
	if err != nil {
		log.Fatal(err)
	}
	entry, err := c.State.Get(ctx, "wf-1", "status")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(version, string(entry.Value))
	// Output: 1 {"step":"researching"}
}

// Two agents that add to one counter lose no update: who writes second meets a
// conflict and begins anew from the value that is there.
func ExampleState_SetWithVersion() {
	c, end := open()
	defer end()
	ctx := context.Background()

	increment := func() error {
		for {
			var n int
			entry, err := c.State.Get(ctx, "wf-2", "counter")
			switch {
			case errors.Is(err, client.ErrNotFound):
			case err != nil:
				return err
			default:
				if err := entry.Decode(&n); err != nil {
					return err
				}
			}
			_, err = c.State.SetWithVersion(ctx, "wf-2", "counter", n+1, entry.Version)
			if !errors.Is(err, client.ErrVersionConflict) {
				return err
			}
		}
	}
	for range 3 {
		if err := increment(); err != nil {
			log.Fatal(err)
		}
	}
	entry, err := c.State.Get(ctx, "wf-2", "counter")
	fmt.Println(string(entry.Value), err)
	// Output: 3 <nil>
}

// With a key of its own a write can be repeated until its outcome is known.
func ExampleWithIdempotencyKey() {
	c, end := open()
	defer end()
	ctx := context.Background()

	key := client.NewIdempotencyKey()
	version, err := c.State.Set(ctx, "wf-3", "status", "done", client.WithIdempotencyKey(key))
	if errors.Is(err, client.ErrOutcomeUnknown) {
		log.Print("all attempts were lost: the same call with the same key may be tried again for 10 minutes")
	}
	fmt.Println(version, err)
	// Output: 1 <nil>
}

func ExampleState_Atomic() {
	c, end := open()
	defer end()
	ctx := context.Background()

	move := []client.Op{
		client.DeleteOp("inbox/7").AtVersion(1),
		client.SetOp("done/7", "reviewed"),
	}
	_, err := c.State.Atomic(ctx, "wf-4", move)
	var conflict *client.Error
	if errors.As(err, &conflict) && conflict.Code == client.ErrVersionConflict {
		fmt.Println("operation", conflict.Op, "met version", conflict.CurrentVersion)
	}

	if _, err := c.State.Set(ctx, "wf-4", "inbox/7", "please review"); err != nil {
		log.Fatal(err)
	}
	results, err := c.State.Atomic(ctx, "wf-4", move)
	fmt.Println(results[0].Deleted, err)
	// Output:
	// operation 0 met version 0
	// true <nil>
}

func ExampleState_Pages() {
	c, end := open()
	defer end()
	ctx := context.Background()

	for _, key := range []string{"a/1", "a/2", "a/3", "b/1"} {
		if _, err := c.State.Set(ctx, "wf-5", key, key); err != nil {
			log.Fatal(err)
		}
	}
	for page, err := range c.State.Pages(ctx, "wf-5", client.Query{Prefix: "a/", Limit: 2}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(page.Keys)
	}
	// Output:
	// [a/1 a/2]
	// [a/3]
}

// A subscription tells each change once and in order, also when it has to go on
// at another node.
func ExampleState_Subscribe() {
	c, end := open()
	defer end()
	ctx := context.Background()

	sub, err := c.State.Subscribe(ctx, "wf-6", "status")
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
	for _, step := range []string{"researching", "writing", "done"} {
		if _, err := c.State.Set(ctx, "wf-6", "status", step); err != nil {
			log.Fatal(err)
		}
	}
	for event, err := range sub.Events() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type, event.Version, string(event.NewValue))
		if event.Version == 3 {
			break
		}
	}
	// Output:
	// set 1 "researching"
	// set 2 "writing"
	// set 3 "done"
}

// A cache holds a workflow as it is. It begins with a snapshot, and begins anew
// where a resync says that its history has a gap.
func ExampleState_SubscribeWorkflow() {
	c, end := open()
	defer end()
	ctx := context.Background()

	if _, err := c.State.Set(ctx, "wf-7", "plan", "fly"); err != nil {
		log.Fatal(err)
	}
	sub, err := c.State.SubscribeWorkflow(ctx, "wf-7", client.Snapshot())
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
	if _, err := c.State.Set(ctx, "wf-7", "status", "done"); err != nil {
		log.Fatal(err)
	}
	cache := map[string]json.RawMessage{}
	for event, err := range sub.Events() {
		if err != nil {
			log.Fatal(err)
		}
		switch event.Type {
		case client.EventResync:
			clear(cache)
		case client.EventSnapshot, client.EventSet:
			cache[event.Key] = event.NewValue
		case client.EventDelete, client.EventExpire:
			delete(cache, event.Key)
		case client.EventSynced: // the cache is complete
			fmt.Printf("%s as of the beginning\n", cache)
		}
		if event.Key == "status" {
			break
		}
	}
	fmt.Printf("%s\n", cache)
	// Output:
	// map[plan:"fly"] as of the beginning
	// map[plan:"fly" status:"done"]
}

// An agent takes a task over from one that is dead, or only slow: of the two who
// go on from the same version, one wins.
func ExampleAgent_Set() {
	c, end := open()
	defer end()
	ctx := context.Background()

	type task struct {
		Done []string `json:"done"`
		Next string   `json:"next"`
	}
	_, err := c.Agent.Set(ctx, "user_123", "current_task", task{[]string{"research"}, "book"}, client.WithSession("run-1"))
	if err != nil {
		log.Fatal(err)
	}
	entry, err := c.Agent.Get(ctx, "user_123", "current_task")
	if err != nil {
		log.Fatal(err)
	}
	var t task
	if err := entry.Decode(&t); err != nil {
		log.Fatal(err)
	}
	fmt.Println("next:", t.Next)

	goOn := func(session string) error {
		next := task{append(t.Done, t.Next), "pack"}
		_, err := c.Agent.Set(ctx, "user_123", "current_task", next, client.IfVersion(entry.Version), client.WithSession(session))
		return err
	}
	fmt.Println("run-2:", goOn("run-2"))
	fmt.Println("run-1 has lost:", errors.Is(goOn("run-1"), client.ErrVersionConflict))
	// Output:
	// next: book
	// run-2: <nil>
	// run-1 has lost: true
}

// A stale read is cheap, and still covers what this client has written. To
// cover what another one has, give MinRevision its Revision.
func ExampleStale() {
	c, end := open()
	defer end()
	ctx := context.Background()

	if _, err := c.State.Set(ctx, "wf-8", "status", "done"); err != nil {
		log.Fatal(err)
	}
	entry, err := c.State.Get(ctx, "wf-8", "status", client.Stale())
	fmt.Println(string(entry.Value), err)
	// Output: "done" <nil>
}
