package inject

import (
	"errors"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// T stands for the injected text in the bodies below.
const text = "T"

const load = `"mnx":{"subject_id":"u","state":{"load":true}}`

func TestBody(t *testing.T) {
	const system = `{"role":"system","content":"T"}`
	tests := []struct {
		name     string
		api      API
		in, want string
	}{
		{"chat, no leading message", Chat, `{"messages":[{"role":"user"}],` + load + `}`, `{"messages":[` + system + `,{"role":"user"}]}`},
		{"chat, behind the caller's", Chat,
			`{` + load + `, "messages" : [ {"role":"system","content":"s"} , {"role":"developer"},{"role":"user"} ,{"role":"system"}] }`,
			`{"messages" : [ {"role":"system","content":"s"} , {"role":"developer"},` + system + `,{"role":"user"} ,{"role":"system"}] }`},
		{"chat, only leading", Chat, `{"messages":[{"role":"system"} ],` + load + `}`, `{"messages":[{"role":"system"},` + system + ` ]}`},
		{"chat, none", Chat, `{"messages":[ ],` + load + `}`, `{"messages":[` + system + ` ]}`},
		{"chat, mnx in the middle", Chat, "{\"a\":1 ,\n " + load + " , \"messages\":[]}", "{\"a\":1 ,\n \"messages\":[" + system + "]}"},
		{"chat, mnx last", Chat, `{"messages":[] , ` + load + "\n}", `{"messages":[` + system + "]\n}"},
		{"chat, escaped names", Chat, `{"\u006dessages":[{"rol\u0065":"\u0073ystem"}],` + strings.Replace(load, "mnx", `m\u006ex`, 1) + `}`,
			`{"\u006dessages":[{"rol\u0065":"\u0073ystem"},` + system + `]}`},
		// Readers differ about which role counts, so it is not taken as the caller's own.
		{"chat, two roles", Chat, `{"messages":[{"role":"system","role":"user"}],` + load + `}`, `{"messages":[` + system + `,{"role":"system","role":"user"}]}`},
		{"chat, no objects", Chat, `{"messages":[3],` + load + `}`, `{"messages":[` + system + `,3]}`},
		{"chat, untouched", Chat,
			`{"n":1.0e+05,"x":18446744073709551617,"x":-0,"s":"\/\ud800\u00e9",` + load + `,"messages":[{"role":"user","content":[{"type":"text","text":"]}"}]}],"tools":[{"f": {} }]}`,
			`{"n":1.0e+05,"x":18446744073709551617,"x":-0,"s":"\/\ud800\u00e9","messages":[` + system + `,{"role":"user","content":[{"type":"text","text":"]}"}]}],"tools":[{"f": {} }]}`},

		{"responses, items", Responses, `{"input":[{"role":"developer","content":"d"},{"type":"message","role":"system"},{"type":"function_call_output"}],` + load + `}`,
			`{"input":[{"role":"developer","content":"d"},{"type":"message","role":"system"},` + system + `,{"type":"function_call_output"}]}`},
		{"responses, item that is no message", Responses, `{"input":[{"type":"x","role":"system"}],` + load + `}`, `{"input":[` + system + `,{"type":"x","role":"system"}]}`},
		{"responses, items leave instructions", Responses, `{"instructions":"i","input":[],` + load + `}`, `{"instructions":"i","input":[` + system + `]}`},
		{"responses, string", Responses, `{"input":"q","instructions":"i\"",` + load + `}`, `{"input":"q","instructions":"i\"\n\nT"}`},
		{"responses, no instructions", Responses, `{"input":"q",` + load + ` }`, `{"input":"q" ,"instructions":"T"}`},
		{"responses, null instructions", Responses, `{"instructions": null,` + load + `}`, `{"instructions": "T"}`},
		{"responses, empty instructions", Responses, `{"instructions":"",` + load + `}`, `{"instructions":"T"}`},
		{"responses, nothing", Responses, `{` + load + `}`, `{"instructions":"T"}`},

		{"messages, string", Messages, `{"system":"s","messages":[],` + load + `}`, `{"system":"s\n\nT","messages":[]}`},
		{"messages, blocks", Messages, `{` + load + `,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}} ]}`,
			`{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}},{"type":"text","text":"T"} ]}`},
		{"messages, no blocks", Messages, `{` + load + `,"system":[]}`, `{"system":[{"type":"text","text":"T"}]}`},
		{"messages, null", Messages, `{"system":null,` + load + `}`, `{"system":"T"}`},
		{"messages, none", Messages, `{"messages":[{"role":"user"}],` + load + `}`, `{"messages":[{"role":"user"}],"system":"T"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse(tt.api, []byte(tt.in), "")
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.Body(text)); got != tt.want {
				t.Errorf("body\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestPlainBody(t *testing.T) {
	tests := []struct{ in, want string }{
		{` { "messages" : "no array" , "stream":true}` + "\n", ` { "messages" : "no array" , "stream":true}` + "\n"},
		{`{}`, `{}`},
		{`{ "mnx" : null }`, `{  }`},
		{`{"a":1, "mnx":{"log":true,"state":{"load":false}}}`, `{"a":1}`},
		{`{"mnx":{"state":{"load":true,"key":"k"}},"a":1}`, `{"a":1}`}, // nobody's state
		{`{"mnx":{"subject_id":"u"},"messages":7}`, `{"messages":7}`},
		{`{"MNX":1,"a":{"mnx":2}}`, `{"MNX":1,"a":{"mnx":2}}`},
	}
	for _, tt := range tests {
		r, err := Parse(Chat, []byte(tt.in), "")
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if got := string(r.Body(text)); got != tt.want || len(r.Keys) > 0 {
			t.Errorf("%s: body %s, keys %q, want %s", tt.in, got, r.Keys, tt.want)
		}
	}
}

func TestAsk(t *testing.T) {
	tests := []struct {
		mnx, fallback string
		subject, keys string // keys joined by spaces
	}{
		{`{"subject_id":"u","state":{"load":true}}`, "h", "u", "current_task"},
		{`{"state":{"load":true,"key":null,"keys":null}}`, "h", "h", "current_task"},
		{`{"subject_id":null,"state":{"load":true,"key":"k"}}`, "h", "h", "k"},
		{`{"subject_id":"","state":{"load":true,"key":"k"}}`, "h", "h", "k"},
		{`{"subject_id":"u","state":{"load":true,"key":"k","keys":["b","a","k","b"]}}`, "", "u", "k b a"},
		{`{"subject_id":"u","state":{"load":true,"keys":["b","\u0061/<"]}}`, "", "u", "b a/<"},
		{`{"subject_id":"u","state":{"load":true,"keys":[],"other":1},"learn":"force"}`, "", "u", "current_task"},
		{`{"subject_id":"u","state":{"load":null}}`, "", "u", ""},
		{`{"subject_id":"u","state":null}`, "", "u", ""},
		{`{"subject_id":"u"}`, "", "u", ""},
		{`null`, "\x00", "", ""}, // not looked at
	}
	for _, tt := range tests {
		r, err := Parse(Chat, []byte(`{"messages":[],"mnx":`+tt.mnx+`}`), tt.fallback)
		if err != nil {
			t.Errorf("%s: %v", tt.mnx, err)
			continue
		}
		if r.Subject != tt.subject || strings.Join(r.Keys, " ") != tt.keys {
			t.Errorf("%s: subject %q, keys %q", tt.mnx, r.Subject, r.Keys)
		}
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("k", names.MaxKeyBytes)
	tests := []struct {
		api            API
		in             string
		code, contains string
	}{
		{Chat, ``, CodeInvalidJSON, "one JSON object"},
		{Chat, `[]`, CodeInvalidJSON, "not an array"},
		{Chat, `{} x`, CodeInvalidJSON, "after top-level"},
		{Chat, "{\"a\":\"\xff\"}", CodeInvalidJSON, "UTF-8"},
		{Chat, `{"mnx":null,"mnx":{}}`, CodeInvalidRequest, "mnx is given more than once"},
		{Chat, `{"messages":[],"\u006dessages":[]}`, CodeInvalidRequest, "messages is given more than once"},
		{Responses, `{"input":[],"input":[]}`, CodeInvalidRequest, "input is given more than once"},
		{Responses, `{"instructions":"","instructions":""}`, CodeInvalidRequest, "instructions is given"},
		{Messages, `{"system":"","system":""}`, CodeInvalidRequest, "system is given"},
		{Chat, `{"stream":true,"stream":false}`, CodeInvalidRequest, "stream is given"},
		{Chat, `{"mnx":[]}`, CodeInvalidRequest, "mnx must be an object, not an array"},
		{Chat, `{"mnx":{"subject_id":7}}`, CodeInvalidRequest, "mnx.subject_id must be a string, not a number"},
		{Chat, `{"mnx":{"subject_id":"` + long + `"}}`, CodeInvalidKey, "at most 256 bytes"},
		{Chat, `{"mnx":{"subject_id":"a","subject_id":"b"}}`, CodeInvalidRequest, "mnx.subject_id is given more than once"},
		{Chat, `{"mnx":{"state":true}}`, CodeInvalidRequest, "mnx.state must be an object, not a boolean"},
		{Chat, `{"mnx":{"state":{"load":"true"}}}`, CodeInvalidRequest, "mnx.state.load must be a boolean, not a string"},
		{Chat, `{"mnx":{"state":{"load":true,"load":false}}}`, CodeInvalidRequest, "mnx.state.load is given"},
		{Chat, `{"mnx":{"state":{"key":1}}}`, CodeInvalidRequest, "mnx.state.key must be a string"},
		{Chat, `{"mnx":{"state":{"key":".."}}}`, CodeInvalidKey, `must not be ".."`},
		{Chat, `{"mnx":{"state":{"key":"a\u0000"}}}`, CodeInvalidKey, "control characters"},
		{Chat, `{"mnx":{"state":{"key":"\ud800"}}}`, CodeInvalidKey, "half of a surrogate pair"},
		{Chat, `{"mnx":{"state":{"key":"k` + long + `"}}}`, CodeInvalidKey, "at most 512 bytes"},
		{Chat, `{"mnx":{"state":{"keys":"a"}}}`, CodeInvalidRequest, "mnx.state.keys must be an array of strings, not a string"},
		{Chat, `{"mnx":{"state":{"keys":["a",1]}}}`, CodeInvalidRequest, "a key in mnx.state.keys must be a string"},
		{Chat, `{"mnx":{"state":{"keys":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]}}}`, CodeInvalidRequest, "at most 16 keys"},
		{Chat, `{"mnx":{"state":{"keys":["` + strings.Join(strings.Split("12345678", ""), long[3:]+`","`) + long[3:] + `","a` + long[3:] + `"]}}}`, CodeInvalidRequest, "4096 bytes"},
		{Chat, `{` + load + `}`, CodeInvalidRequest, "messages must be an array"},
		{Chat, `{"messages":{},` + load + `}`, CodeInvalidRequest, "messages must be an array"},
		{Responses, `{"input":5,` + load + `}`, CodeInvalidRequest, "input must be a string or an array, not a number"},
		{Responses, `{"instructions":[],` + load + `}`, CodeInvalidRequest, "instructions must be a string, not an array"},
		{Messages, `{"system":{},` + load + `}`, CodeInvalidRequest, "system must be a string or an array, not an object"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.api, []byte(tt.in), "")
		var e *Error
		if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.contains) {
			t.Errorf("%.80s: error %v, want %s: …%s…", tt.in, err, tt.code, tt.contains)
		}
	}
	if _, err := Parse(Chat, []byte(`{"mnx":{}}`), "a\x7f"); err == nil {
		t.Error("a bad subject in the header was taken")
	}
}

// FuzzBody checks with other means than the scanner that nothing but mnx goes
// and nothing but the text comes.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"messages":[{"role":"system"},{"role":"user"}],"n":1.0,` + load + `}`,
		`{` + load + `,"input":"s","instructions":null}`,
		` { "system" : [ ] , ` + load + ` , "x":"\ud800" } `,
		`{"system":"a\\",` + load + `}`,
	} {
		f.Add(0, s)
		f.Add(1, s)
		f.Add(2, s)
	}
	f.Fuzz(func(t *testing.T, api int, in string) {
		r, err := Parse(API(uint(api)%3), []byte(in), "subject")
		if err != nil {
			return
		}
		bare, full := string(r.Body("")), string(r.Body("{TEXT}"))
		checkCut(t, in, bare)
		if len(r.Keys) == 0 {
			if full != bare {
				t.Fatalf("text was injected unasked: %q", full)
			}
			return
		}
		checkInsertion(t, bare, full, "{TEXT}")
	})
}
