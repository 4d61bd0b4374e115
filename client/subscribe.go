package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"time"
)

// SubscribeOption adds to a subscription.
type SubscribeOption func(*subscribeOptions)

type subscribeOptions struct {
	from        *uint64
	prefix      string
	snapshot    bool
	giveUpAfter time.Duration
}

// FromRevision begins behind that revision instead of with what changes next,
// see Subscription.Revision. Where the history does not reach back that far, the
// state itself comes instead, after EventResync.
func FromRevision(revision uint64) SubscribeOption {
	return func(o *subscribeOptions) { o.from = &revision }
}

// Snapshot begins with the keys that are there: EventSnapshot for each, then
// EventSynced. It excludes FromRevision.
func Snapshot() SubscribeOption {
	return func(o *subscribeOptions) { o.snapshot = true }
}

// Prefix leaves out keys that do not begin so. For SubscribeWorkflow and
// SubscribeSubject.
func Prefix(prefix string) SubscribeOption {
	return func(o *subscribeOptions) { o.prefix = prefix }
}

// GiveUpAfter ends the subscription when no node has served it for that long.
// 0, as without it: it never gives up before its context does.
func GiveUpAfter(d time.Duration) SubscribeOption {
	return func(o *subscribeOptions) { o.giveUpAfter = d }
}

// Subscription is the changes of one key, or of the keys of one workflow or
// subject. Each is told once, whole and in the order of revisions, whichever
// nodes the subscription has to go to. One goroutine uses it; any may call
// Close.
type Subscription struct {
	c       *Client
	topic   topic
	options subscribeOptions
	ctx     context.Context
	cancel  context.CancelFunc
	link    link
	ended   error // what Next returns from now on

	cursor  *uint64 // all up to here has been told; nil: nothing to resume from
	syncing bool    // the stream tells the state; there is no cursor until it is complete
	partial bool    // the caller holds a piece of that state
}

// topic is what a subscription is to.
type topic struct{ path, subject string } // without a subject it is of the State Store

// Subscribe tells the changes of a key, which need not exist: those that come
// after it has returned, or from where an option says.
//
// A stream that breaks is resumed, at another endpoint if there is one, for as
// long as ctx lasts: that no node is within reach ends neither Subscribe nor
// Next. An answer that asking again would not change does (4xx other than 429).
// Close releases what the subscription holds.
func (s *State) Subscribe(ctx context.Context, workflow, key string, opts ...SubscribeOption) (*Subscription, error) {
	path, err := keyPath(workflow, key)
	if err != nil {
		return nil, err
	}
	o := gatherSubscribe(opts)
	if o.prefix != "" {
		return nil, refuse(ErrInvalidRequest, "a prefix goes with SubscribeWorkflow")
	}
	return s.c.subscribe(ctx, topic{path: path + "/stream"}, o)
}

// SubscribeWorkflow is Subscribe for all keys of a workflow.
func (s *State) SubscribeWorkflow(ctx context.Context, workflow string, opts ...SubscribeOption) (*Subscription, error) {
	path, err := workflowPath(workflow)
	if err != nil {
		return nil, err
	}
	return s.c.subscribe(ctx, topic{path: path}, gatherSubscribe(opts))
}

func gatherSubscribe(opts []SubscribeOption) (o subscribeOptions) {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func (c *Client) subscribe(ctx context.Context, t topic, o subscribeOptions) (*Subscription, error) {
	if o.snapshot && o.from != nil {
		return nil, refuse(ErrInvalidRequest, "a snapshot is of the present: FromRevision excludes it")
	}
	s := &Subscription{c: c, topic: t, options: o, cursor: o.from}
	s.link = link{c: c, giveUpAfter: o.giveUpAfter, retry: defaultStreamRetry, downSince: time.Now()}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if err := s.connect(); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

// Next waits for the next event. After an error there is nothing more: the
// context or Close ended the subscription (ErrClosed), or a node refused it.
func (s *Subscription) Next() (Event, error) {
	for s.ended == nil {
		event, ok, err := s.step()
		switch {
		case err != nil:
			s.ended = err
			s.cancel()
		case ok:
			return event, nil
		}
	}
	return Event{}, s.ended
}

// Events is Next as a sequence. After an error, which comes with no event, there
// is nothing more. Leaving the loop does not close the subscription.
func (s *Subscription) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			event, err := s.Next()
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Revision is where FromRevision would go on: all changes up to it have been
// told. It is 0 while a snapshot is not complete.
func (s *Subscription) Revision() uint64 {
	if s.cursor == nil {
		return 0
	}
	return *s.cursor
}

// Close ends the subscription, and a Next that waits. It may be called again.
func (s *Subscription) Close() { s.cancel() }

// step takes one block, which need not hold an event, or sees to it that there
// are blocks again.
func (s *Subscription) step() (Event, bool, error) {
	if s.link.stream == nil {
		err := s.connect()
		voids := s.partial // what comes begins from the start
		s.partial = false
		return Event{Type: EventResync}, voids && err == nil, err
	}
	b, e := s.link.stream.next()
	var event Event
	var ok bool
	if e == nil {
		event, ok, e = s.take(b)
	}
	if e != nil {
		return Event{}, false, s.link.fail(s.ctx, e)
	}
	return event, ok, nil
}

// connect opens a stream, however many attempts that takes.
func (s *Subscription) connect() error {
	s.syncing = s.cursor == nil && (s.options.snapshot || s.partial)
	for {
		r := s.request()
		e := s.link.open(s.ctx, r)
		if e == nil {
			return nil
		}
		if e.Code == ErrRevisionUnknown {
			s.c.revision.forget(r.minRevision)
		}
		if err := s.link.fail(s.ctx, e); err != nil {
			return err
		}
	}
}

// request asks for a stream from the cursor on.
func (s *Subscription) request() *request {
	r := &request{kind: read, method: http.MethodGet, path: s.topic.path}
	r.setHeader("Accept", mediaStream)
	if s.topic.subject != "" {
		r.setHeader(headerSubject, s.topic.subject)
	}
	if s.options.prefix != "" {
		r.setQuery("prefix", s.options.prefix)
	}
	if s.syncing {
		r.setQuery("snapshot", "true")
	}
	switch {
	case s.cursor != nil:
		r.setHeader(headerLastEventID, strconv.FormatUint(*s.cursor, 10))
	case !s.c.config.NoReadYourWrites:
		r.minRevision = s.c.Revision()
	}
	return r
}

// take returns the event that a block tells, if it tells one.
func (s *Subscription) take(b block) (Event, bool, *Error) {
	if b.retry > 0 {
		s.link.retry = min(b.retry, maxStreamRetry)
	}
	revision, err := strconv.ParseUint(b.id, 10, 64)
	switch {
	case b.event == string(EventResync):
		s.cursor, s.syncing, s.partial = nil, true, true
		return Event{Type: EventResync}, true, nil
	case b.event == string(EventSynced) && err == nil:
		s.cursor, s.syncing, s.partial = nil, false, false
		s.advance(revision)
		return Event{Type: EventSynced, Revision: revision}, true, nil
	case b.event == "" && b.data != nil:
		return s.unnamed(b)
	case err == nil && !s.syncing:
		s.advance(revision)
	}
	return Event{}, false, nil
}

// unnamed takes a change, or a key of a snapshot. A change that was told before
// is passed over.
func (s *Subscription) unnamed(b block) (Event, bool, *Error) {
	var event Event
	if err := json.Unmarshal(b.data, &event); err != nil {
		return Event{}, false, s.link.stream.badResponse(err)
	}
	if event.Type == "" {
		return Event{}, false, s.link.stream.badResponse(errors.New("an event without a type"))
	}
	if s.syncing {
		s.partial = true
		return event, true, nil
	}
	if s.cursor != nil && event.Revision <= *s.cursor {
		return Event{}, false, nil
	}
	s.advance(event.Revision)
	return event, true, nil
}

// advance moves the cursor, never backwards.
func (s *Subscription) advance(revision uint64) {
	if s.cursor != nil {
		revision = max(revision, *s.cursor)
	}
	s.cursor = &revision
	s.c.revision.raise(revision)
}
