// Package contract reads docs/contract, the wire contract as files, for the
// tests of both of its ends. docs/contract/README.md says what each member
// means.
package contract

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// A Case is calls by one client, with all that they put on the wire.
type Case struct {
	Name   string
	About  string
	Client Config
	Given  []Given
	Server *bool // false: no node answers so by itself
	Steps  []Step
}

// Config is how the case's client differs from the default.
type Config struct {
	Endpoints        int
	Token            string
	MaxAttempts      int
	TimeoutMs        int
	AttemptTimeoutMs int
	ReadYourWrites   *bool
}

// Given brings a node into the state of a case: by a request, a condition, or
// time that passes, in seconds.
type Given struct {
	Request
	Condition string
	Advance   float64
}

// A Step is a call and what becomes of it: Result or Error.
type Step struct {
	Call      Call
	Exchanges []Exchange
	Result    json.RawMessage
	Error     json.RawMessage
	Revision  *uint64
}

// A Call is a method of methods.json with its arguments.
type Call struct {
	Method string
	Args   Args
	text   json.RawMessage // of Args
}

// UnmarshalJSON refuses members that it does not know, for the decoder's
// setting does not reach here.
func (c *Call) UnmarshalJSON(b []byte) error {
	var plain struct {
		Method string
		Args   json.RawMessage
	}
	if err := strictly(b, &plain); err != nil {
		return err
	}
	c.Method, c.text = plain.Method, plain.Args
	return strictly(plain.Args, &c.Args)
}

func strictly(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// Args are the arguments of all methods. What is zero was not given, but for
// Value.
type Args struct {
	Workflow, Subject, Key string
	Value                  json.RawMessage
	Raw                    string
	TTL                    float64
	Session                *string
	ExpectedVersion        uint64
	IfVersion              *uint64
	IfExists, IfAbsent     bool
	IdempotencyKey         string
	ReturnCurrent          bool
	Consistency            string
	MinRevision            uint64
	Prefix, After          string
	Limit                  int
	Reverse, Values        bool
	Ops                    []Op
	Snapshot               bool
	FromRevision           *uint64
}

// Op is one operation of an atomic write.
type Op struct {
	Op, Key         string
	Value           json.RawMessage
	Raw             string
	TTL             float64
	ExpectedVersion *uint64
}

// JSON is the text of a value, given as one or the other.
func JSON(value json.RawMessage, raw string) json.RawMessage {
	if raw != "" {
		return json.RawMessage(raw)
	}
	return value
}

// An Exchange is a request and its answer. Load fills in the request where a
// file leaves out that it is the one before, sent again.
type Exchange struct {
	Request  *Request
	Response Response
	Endpoint int
	PauseMs  []int
}

// Request is what a client sends.
type Request struct {
	Method, Path string
	Headers      map[string]string
	Body         string
	Endpoint     int
	PauseMs      []int // least and most since the last answer; none: at once
}

// Response is an answer, the lack of one (Failure), or a stream (End).
type Response struct {
	Status   int
	Headers  map[string]string
	Body     string
	Failure  string
	Chunks   []Chunk
	End      string
	SilentMs int
}

// Chunk is bytes that arrive together.
type Chunk []byte

// UnmarshalJSON reads a string, or {"base64": …}.
func (c *Chunk) UnmarshalJSON(b []byte) error {
	if b[0] != '"' {
		var encoded struct{ Base64 string }
		if err := json.Unmarshal(b, &encoded); err != nil {
			return err
		}
		data, err := base64.StdEncoding.DecodeString(encoded.Base64)
		*c = data
		return err
	}
	var text string
	err := json.Unmarshal(b, &text)
	*c = []byte(text)
	return err
}

// A Stream is a subscription, its connections, and the events it tells.
type Stream struct {
	Name        string
	About       string
	Client      Config
	Subscribe   Call
	Server      *Served
	Connections []Exchange
	Events      []json.RawMessage
	Error       json.RawMessage
}

// Served is how a node comes to send the first connection's chunks.
type Served struct {
	Given  []Given
	Writes []Given
}

// Method is a row of methods.json.
type Method struct {
	Method, Kind, Go, TypeScript, Python string
	Args                                 []string
	Request, About                       string
}

// ErrorCode is a row of errors.json.
type ErrorCode struct {
	Code, Class, Go                 string
	Status                          []int
	Agent                           []string
	From, Meaning, Applied, Retried string
}

// Retries is retries.json.
type Retries struct {
	Kinds []struct{ Kind, Means string }
	Table []struct {
		Failure, Means                      string
		Read, Write, Versioned, Keyed, Next bool
	}
	Pauses struct {
		FirstMs, MostMs, Factor                              int
		LessUpToHalfByChance, NoneInTheFirstRoundOfEndpoints bool
	}
	Defaults struct{ TimeoutMs, AttemptTimeoutMs, MaxAttempts int }
	Cases    []Case
}

// Dir is the folder of the files, as seen from a package directory at that
// depth below the module's root.
func Dir(up string) string { return filepath.Join(up, "docs", "contract") }

// Methods returns the rows of methods.json.
func Methods(tb testing.TB, dir string) []Method {
	var file struct{ Methods []Method }
	load(tb, filepath.Join(dir, "methods.json"), &file)
	return file.Methods
}

// Errors returns the rows of errors.json.
func Errors(tb testing.TB, dir string) []ErrorCode {
	var file struct {
		Base   string
		Errors []ErrorCode
	}
	load(tb, filepath.Join(dir, "errors.json"), &file)
	return file.Errors
}

// RetryTable returns retries.json.
func RetryTable(tb testing.TB, dir string) Retries {
	var file Retries
	load(tb, filepath.Join(dir, "retries.json"), &file)
	for _, c := range file.Cases {
		fill(tb, c)
	}
	return file
}

// Calls returns the cases of calls/*.json, by the names of their files.
func Calls(tb testing.TB, dir string) map[string][]Case {
	return files(tb, filepath.Join(dir, "calls"), func(c Case) { fill(tb, c) })
}

// Streams returns the cases of streams/*.json, by the names of their files.
func Streams(tb testing.TB, dir string) map[string][]Stream {
	return files(tb, filepath.Join(dir, "streams"), func(Stream) {})
}

func files[C any](tb testing.TB, dir string, each func(C)) map[string][]C {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		tb.Fatalf("%d files in %s: %v", len(entries), dir, err)
	}
	all := map[string][]C{}
	for _, entry := range entries {
		var file struct{ Cases []C }
		load(tb, filepath.Join(dir, entry.Name()), &file)
		for _, c := range file.Cases {
			each(c)
		}
		all[entry.Name()] = file.Cases
	}
	return all
}

// load decodes a file, and refuses members that it does not know.
func load(tb testing.TB, path string, into any) {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := strictly(data, into); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
}

// fill gives each exchange a request of its own.
func fill(tb testing.TB, c Case) {
	for _, s := range c.Steps {
		for i := range s.Exchanges {
			e := &s.Exchanges[i]
			switch {
			case e.Request != nil:
			case i == 0:
				tb.Fatalf("%s: an exchange without a request", c.Name)
			default:
				again := *s.Exchanges[i-1].Request
				again.Endpoint, again.PauseMs = e.Endpoint, e.PauseMs
				e.Request = &again
			}
		}
	}
}
