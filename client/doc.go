// Package client is the Go client of Stateraft's State Store and Agent State. It
// knows the wire contract only, and needs nothing but the standard library.
//
//	c, err := client.New(client.Config{Endpoints: []string{
//		"http://10.0.0.1:7474", "http://10.0.0.2:7474", "http://10.0.0.3:7474",
//	}})
//	version, err := c.State.Set(ctx, "wf-1", "status", map[string]any{"step": "researching"})
//	entry, err := c.State.Get(ctx, "wf-1", "status")
//
// # Endpoints
//
// Every node takes every request. A client stays with one endpoint and goes to
// the next when a connection fails or a node says that it cannot serve (503).
// What is asked again, and what never is, is the table in retry.go.
//
// # Outcomes
//
// A write that fails either did not happen or nobody knows whether it did.
// [Error].Outcome says which, and errors.Is(err, [ErrOutcomeUnknown]) asks for
// the second. It is that of all attempts together: once one of them was lost
// on its way, a later refusal does not prove that the first had no effect.
// [WithIdempotencyKey] lets the client ask again until it knows.
//
// # Consistency
//
// Reads are linearizable unless [Stale] is given. A stale read is answered by
// the endpoint from what it has, but never from less than this client has seen
// before: each response tells its revision, and stale reads carry the highest.
// So a client reads its own writes, and never goes back in time, also when it
// moves to another node. Config.NoReadYourWrites turns that off.
//
// # Streams
//
// [State.Subscribe] and [State.SubscribeWorkflow] tell changes: each once, whole
// and in order. A stream that breaks, ends, or is silent for 45 s is resumed at
// the next endpoint behind the last event that was told; link.go says with
// what pauses. If the history does not reach back that far, [EventResync] says so
// and the state itself follows. A subscription holds one connection on HTTP/1.1,
// so a Config.HTTPClient for it must have no Timeout.
//
//	sub, err := c.State.Subscribe(ctx, "wf-1", "status")
//	defer sub.Close()
//	for event, err := range sub.Events() { … }
//
// # Concurrency
//
// A [Client] may be used by any number of goroutines. It starts none.
package client
