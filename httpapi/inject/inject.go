package inject

import (
	"cmp"
	"slices"

	"github.com/stateraft/stateraft/httpapi/internal/jsonscan"
	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// An API is the form of a request's body.
type API int

// The forms, each with where the state goes.
const (
	Chat      API = iota // OpenAI Chat Completions: a system message in messages
	Responses            // OpenAI Responses: a system item in input, or behind instructions
	Messages             // Anthropic Messages: behind system
)

// String returns the name that metrics and messages use.
func (a API) String() string { return [...]string{"chat", "responses", "messages"}[a] }

// members are those that a form is read for, beside mnx and stream.
var members = [...][]string{
	Chat:      {"messages"},
	Responses: {"input", "instructions"},
	Messages:  {"system"},
}

// A Request is a body that has been read for what it asks of the proxy.
type Request struct {
	Subject string   // whose state; "" if neither the body nor the caller names one
	Keys    []string // to inject, in order; none if the body does not ask or Subject is ""
	Stream  bool     // the answer is to be streamed

	body  []byte
	cut   jsonscan.Span // mnx, with its comma
	place place         // for the state; only if there are Keys
}

// Parse reads a body. subject is whose state is meant if mnx.subject_id does
// not say; "" for nobody's. The Request keeps body, which must not change. The
// error is an *Error.
func Parse(api API, body []byte, subject string) (*Request, error) {
	start, err := checkObject(body)
	if err != nil {
		return nil, err
	}
	found, count, err := fields(body, start, "", slices.Concat([]string{"mnx", "stream"}, members[api])...)
	if err != nil {
		return nil, err
	}
	r := &Request{body: body}
	stream := found[1].raw(body)
	r.Stream = stream != nil && stream[0] == 't'
	if found[0].present {
		r.cut = found[0].hull
		count--
	}
	if found[0].raw(body) == nil {
		return r, nil // no mnx, or null: it asks nothing
	}
	if err := r.ask(found[0].Value, subject); err != nil || len(r.Keys) == 0 {
		return r, err
	}
	end := jsonscan.Value(body, start)
	r.place, err = locate(api, body, found[2:], end, count > 0)
	return r, err
}

func checkObject(body []byte) (start int, err error) {
	if err := jsonscan.Check(body); err != nil {
		return 0, &Error{CodeInvalidJSON, "the body must be one JSON object: " + err.Error()}
	}
	start = jsonscan.Space(body, 0)
	if body[start] != '{' {
		return 0, &Error{CodeInvalidJSON, "the body must be one JSON object, not " + jsonscan.Kind(body[start:])}
	}
	return start, nil
}

// ask reads mnx.
func (r *Request) ask(mnx jsonscan.Span, subject string) error {
	if kind := jsonscan.Kind(mnx.Of(r.body)); kind != "an object" {
		return invalid("mnx must be an object, not %s", kind)
	}
	a, err := parseAsk(r.body, mnx.Start)
	if err != nil {
		return err
	}
	if r.Subject = a.subject; r.Subject == "" && subject != "" {
		if err := checkName(subject, "the subject id", names.MaxSubjectBytes); err != nil {
			return err
		}
		r.Subject = subject
	}
	if a.load && r.Subject != "" {
		r.Keys = a.keys
	}
	return nil
}

// locate finds the place for the state in a body that ends at end.
func locate(api API, body []byte, found []field, end int, others bool) (place, error) {
	switch api {
	case Chat:
		raw := found[0].raw(body)
		if raw == nil || raw[0] != '[' {
			return place{}, invalid("messages must be an array, for state to be injected")
		}
		return inMessages(body, found[0].Value.Start), nil
	case Responses:
		return inResponses(body, found[0], found[1], end, others)
	default:
		return inSystem(body, found[0], end, others)
	}
}

func inResponses(body []byte, input, instructions field, end int, others bool) (place, error) {
	switch raw := input.raw(body); {
	case raw == nil || raw[0] == '"':
	case raw[0] == '[':
		return inMessages(body, input.Value.Start), nil
	default:
		return place{}, invalid("input must be a string or an array, not %s, for state to be injected", jsonscan.Kind(raw))
	}
	switch raw := instructions.raw(body); {
	case !instructions.present:
		return asMember(end, "instructions", others), nil
	case raw == nil:
		return instead(instructions.Value), nil
	case raw[0] == '"':
		return atEnd(instructions.Value), nil
	default:
		return place{}, invalid("instructions must be a string, not %s, for state to be injected", jsonscan.Kind(raw))
	}
}

func inSystem(body []byte, system field, end int, others bool) (place, error) {
	switch raw := system.raw(body); {
	case !system.present:
		return asMember(end, "system", others), nil
	case raw == nil:
		return instead(system.Value), nil
	case raw[0] == '"':
		return atEnd(system.Value), nil
	case raw[0] == '[':
		return asBlock(body, system.Value.Start), nil
	default:
		return place{}, invalid("system must be a string or an array, not %s, for state to be injected", jsonscan.Kind(raw))
	}
}

// Body returns the body to send: the caller's without mnx, and with text at
// its place, unless that is "". Text goes only into a request that has Keys.
// A body of which nothing changes is the caller's own.
func (r *Request) Body(text string) []byte {
	if r.cut.End == 0 {
		return r.body
	}
	type edit struct {
		span jsonscan.Span
		by   []byte
	}
	edits := []edit{{span: r.cut}}
	if text != "" && len(r.Keys) > 0 {
		by := append([]byte(r.place.before), quoted(text)...)
		edits = append(edits, edit{r.place.span, append(by, r.place.after...)})
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.span.Start, b.span.Start) })

	out := make([]byte, 0, len(r.body)+len(edits[len(edits)-1].by)+len(edits[0].by))
	done := 0
	for _, e := range edits {
		out = append(out, r.body[done:e.span.Start]...)
		out = append(out, e.by...)
		done = e.span.End
	}
	return append(out, r.body[done:]...)
}
