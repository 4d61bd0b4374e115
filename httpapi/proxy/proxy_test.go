package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/httpapi/inject"
	"github.com/stateraft/stateraft/httpapi/inject/injecttest"
)

const (
	jsonType   = "application/json"
	completion = "{\"id\" : \"c1\", \"n\":1.0e+2,\n \"choices\":[ {\"s\":\"\\u00e9\\/\"} ] }\n"
	ask        = `"mnx":{"subject_id":"user_123","state":{"load":true}}`
)

func TestNew(t *testing.T) {
	for _, c := range []Config{
		{OpenAIURL: "api.openai.com/v1"},
		{OpenAIURL: "ftp://host"},
		{OpenAIURL: "http://"},
		{OpenAIURL: "http://user:secret@host/v1"},
		{AnthropicURL: "http://host/v1?x=1"},
		{AnthropicURL: "http://host:port/"},
		{InjectBytes: 100},
		{Timeout: -1},
	} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("New(%+v): %v", c, err)
		}
	}
	p, err := New(Config{})
	if err != nil || p.MaxBodyBytes() != DefaultMaxBodyBytes || p.upstream.endpoints[inject.Chat].String() != DefaultOpenAIURL+"/chat/completions" {
		t.Errorf("defaults: %+v, %v", p, err)
	}
}

func TestEndpoints(t *testing.T) {
	for base, want := range map[string]string{
		"http://h":            "http://h/messages",
		"http://h:81/":        "http://h:81/messages",
		"https://h/v1":        "https://h/v1/messages",
		"https://h/a%2Fb/v1/": "https://h/a%2Fb/v1/messages",
	} {
		p, err := New(Config{AnthropicURL: base})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.upstream.endpoints[inject.Messages]; got.String() != want || got.Path[0] != '/' {
			t.Errorf("%s leads to %s, want %s", base, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	ours := []string{
		"X-Mnexium-Key", "ours", "X-Cntrlnode-Key", "ours", "X-Subject-ID", "u", "X-Session-ID", "s", "X-Stateraft-Min-Revision", "7", "X-Mnx-Memory-Policy", "p",
		"X-Google-Key", "g", "Cookie", "c=1", "Origin", "https://app", "Referer", "https://app/x", "X-Forwarded-For", "10.0.0.1",
		"Connection", "keep-alive, x-hop", "X-Hop", "1", "Keep-Alive", "timeout=5", "Te", "trailers", "Proxy-Authorization", "Basic x", "Upgrade", "h2c",
	}
	theirs := []string{
		"Content-Type", "application/json; charset=utf-8", "Accept", "text/event-stream", "Accept-Encoding", "gzip, br", "User-Agent", "test/1",
		"OpenAI-Organization", "org", "OpenAI-Beta", "a", "OpenAI-Beta", "b", "Anthropic-Version", "2023-06-01", "Anthropic-Beta", "x",
		"X-Stainless-Lang", "python", "Idempotency-Key", "i", "Traceparent", "00-1",
	}
	tests := []struct {
		name, path string
		in         []string
		want       []string // of Authorization and X-Api-Key
	}{
		{"OpenAI key", "/chat/completions", []string{"x-openai-key", "sk-1", "x-anthropic-key", "sk-ant", "x-api-key", "sk-ant2"}, []string{"Authorization", "Bearer sk-1"}},
		{"OpenAI key before Authorization", "/responses", []string{"x-openai-key", "sk-1", "Authorization", "Bearer sk-2"}, []string{"Authorization", "Bearer sk-1"}},
		{"Authorization beside ours", "/chat/completions", []string{"Authorization", "Bearer sk-2"}, []string{"Authorization", "Bearer sk-2"}},
		{"none", "/chat/completions", nil, nil},
		{"Anthropic key", "/messages", []string{"x-anthropic-key", "sk-ant", "x-api-key", "sk-ant2", "x-openai-key", "sk-1"}, []string{"X-Api-Key", "sk-ant"}},
		{"Anthropic's own header", "/messages", []string{"x-api-key", "sk-ant2"}, []string{"X-Api-Key", "sk-ant2"}},
		{"Anthropic token", "/messages", []string{"Authorization", "Bearer oauth"}, []string{"Authorization", "Bearer oauth"}},
	}
	b := newBench(t, answerWith(200, jsonType, "{}"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.post(t, tt.path, `{}`, slices.Concat(ours, theirs, tt.in)...)
			got, _ := b.upstream.last()
			want := headerOf(slices.Concat(theirs, tt.want, []string{"Content-Length", "2"}))
			if !reflect.DeepEqual(got.header, want) {
				t.Errorf("header\n%v, want\n%v", got.header, want)
			}
		})
	}
	t.Run("our key as Authorization", func(t *testing.T) {
		for _, path := range []string{"/chat/completions", "/responses", "/messages"} {
			b.post(t, path+"?beta=true&access_token=ours&a%63cess_token=ours&x", `{}`, "Authorization", "Bearer ours")
			got, _ := b.upstream.last()
			want := headerOf([]string{"Content-Length", "2", "Content-Type", jsonType})
			got.header.Del("User-Agent") // the client's own
			if !reflect.DeepEqual(got.header, want) || !strings.HasSuffix(got.path, "/v1"+path+"?beta=true&x") {
				t.Errorf("%s, header %v, want %v", got.path, got.header, want)
			}
		}
	})
	t.Run("curl", func(t *testing.T) {
		b.post(t, "/chat/completions", `{}`, "Content-Type", "application/x-www-form-urlencoded", "x-mnexium-key", "k")
		if got, _ := b.upstream.last(); got.header.Get("Content-Type") != jsonType || got.path != "/openai/v1/chat/completions" {
			t.Errorf("%+v", got)
		}
	})
}

func headerOf(pairs []string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestAnswerHeaders(t *testing.T) {
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Set-Cookie", "Alt-Svc", "Strict-Transport-Security", "Access-Control-Allow-Origin", "X-Mnx-State-Key", "X-Stateraft-Node", "X-Hop"} {
			w.Header().Set(name, "theirs")
		}
		w.Header().Set("Connection", "X-Hop")
		w.Header()["X-Ratelimit"] = []string{"1", "2"}
		w.Header().Set("X-Request-Id", "r")
		answerWith(200, jsonType, completion)(w, nil)
	})
	res, _ := b.post(t, "/chat/completions", `{"mnx":{"subject_id":"ü, x"}}`)
	res.Header.Del("Date")
	want := headerOf([]string{"X-Stateraft-Node", "n1", "X-Ratelimit", "1", "X-Ratelimit", "2", "X-Request-Id", "r",
		"Content-Type", jsonType, "Content-Length", "54"})
	want.Set("Content-Length", res.Header.Get("Content-Length"))
	if !reflect.DeepEqual(res.Header, want) {
		t.Errorf("header\n%v, want\n%v", res.Header, want)
	}
}

// What asks for no state passes byte for byte, both ways.
func TestUntouched(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, completion)
	_ = z.Close()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		body := completion
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			body = zipped.String()
		}
		answerWith(200, jsonType, body)(w, r)
	})
	const rest = ` "messages" : [{"role":"user","content":[{"type":"image_url"}]}], "n":1.50 , "n":2,"tools":[ {} ]}` + "\n"
	tests := []struct {
		name, path, in, upstream string
	}{
		{"plain", "/chat/completions", "{" + rest, "{" + rest},
		{"null", "/responses", `{"mnx":null,` + rest, `{` + strings.TrimPrefix(rest, " ")},
		{"not asked", "/messages", `{"mnx":{"subject_id":"u","log":true},` + rest, `{` + strings.TrimPrefix(rest, " ")},
		{"nobody's", "/chat/completions", `{"mnx":{"state":{"load":true}},` + rest, `{` + strings.TrimPrefix(rest, " ")},
	}
	for _, tt := range tests {
		for accept, want := range map[string]string{"gzip": zipped.String(), "identity": completion} {
			res, body := b.post(t, tt.path, tt.in, "Accept-Encoding", accept)
			got, _ := b.upstream.last()
			if got.body != tt.upstream || body != want || res.StatusCode != 200 {
				t.Errorf("%s, %s: upstream saw %q, the answer is %d %q", tt.name, accept, got.body, res.StatusCode, body)
			}
		}
	}
}

func TestInjected(t *testing.T) {
	tests := []struct {
		name, path, body string
		header           []string
		keys             []string // that reach the model
		subject          string
		stateKey         string
		stateVersion     string
		mnx              string
	}{
		{"the default key", "/chat/completions", `{"messages":[],` + ask + `}`, nil,
			[]string{"current_task"}, "user_123", "current_task", "3",
			`{"state":{"loaded":true,"key":"current_task","version":3,"bytes":22,"truncated":false}}`},
		{"a subject by header", "/messages", `{"mnx":{"state":{"load":true,"key":"big"}}}`, []string{"X-Subject-ID", "u"},
			[]string{"big"}, "u", "big", "9",
			`{"state":{"loaded":true,"key":"big","version":9,"bytes":102402,"truncated":true}}`},
		{"a subject with a space", "/responses", `{"mnx":{"subject_id":"John Smith, 1 %","state":{"load":true,"key":"none"}}}`, nil,
			nil, "John Smith, 1 %", "none", "0",
			`{"state":{"loaded":false,"key":"none","version":0,"bytes":0,"truncated":false}}`},
		{"a subject that no header holds", "/responses", `{"mnx":{"subject_id":" ü","state":{"load":true,"key":"none"}}}`, nil,
			nil, "", "none", "0",
			`{"state":{"loaded":false,"key":"none","version":0,"bytes":0,"truncated":false}}`},
		{"nothing there", "/responses", `{"mnx":{"subject_id":"u","state":{"load":true,"key":"none"}}}`, nil,
			nil, "u", "none", "0",
			`{"state":{"loaded":false,"key":"none","version":0,"bytes":0,"truncated":false}}`},
		{"several", "/responses", `{"input":"q","mnx":{"subject_id":"u","state":{"load":true,"keys":["none","flow/é,1 %","current_task"]}}}`, nil,
			[]string{"flow/é,1 %", "current_task"}, "u", "none,flow/%C3%A9%2C1%20%25,current_task", "0,1,3",
			`{"state":{"loaded":false,"key":"none","version":0,"bytes":0,"truncated":false,"keys":[{"loaded":false,"key":"none","version":0,"bytes":0,"truncated":false},` +
				`{"loaded":true,"key":"flow/é,1 %","version":1,"bytes":5,"truncated":false},{"loaded":true,"key":"current_task","version":3,"bytes":22,"truncated":false}]}}`},
	}
	b := newBench(t, answerWith(200, "application/json; charset=utf-8", completion))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := b.post(t, tt.path, tt.body, append(tt.header, "Accept-Encoding", "gzip")...)
			got, _ := b.upstream.last()
			checkInjected(t, got.body, tt.keys)
			if got.header.Get("Accept-Encoding") != "identity" {
				t.Errorf("upstream was asked for %q", got.header.Get("Accept-Encoding"))
			}
			want := strings.Replace(completion, "}\n", `,"mnx":`+tt.mnx+"}\n", 1)
			if body != want {
				t.Errorf("answer\n%q, want\n%q", body, want)
			}
			told := []string{res.Header.Get("X-Mnx-Subject-Id"), res.Header.Get("X-Mnx-State-Key"), res.Header.Get("X-Mnx-State-Version")}
			if !slices.Equal(told, []string{tt.subject, tt.stateKey, tt.stateVersion}) {
				t.Errorf("told %q", told)
			}
		})
	}
}

// checkInjected checks that a body is whole and holds the states of these keys.
func checkInjected(t *testing.T, body string, keys []string) {
	t.Helper()
	var in map[string]any
	if err := json.Unmarshal([]byte(body), &in); err != nil || in["mnx"] != nil {
		t.Fatalf("upstream saw %q (%v)", body, err)
	}
	var blocks []injecttest.Block
	for _, text := range texts(in) {
		if b, err := injecttest.Read(text); err == nil {
			blocks = append(blocks, b...)
		}
	}
	if len(blocks) != len(keys) {
		t.Fatalf("%d blocks in %q", len(blocks), body)
	}
	for i, b := range blocks {
		if s := saved[keys[i]]; b.Key != s.Key || b.Version != s.Version || !b.Truncated && string(b.Value) != string(bytes.ReplaceAll(bytes.ReplaceAll(s.Value, []byte("<"), []byte(`\u003c`)), []byte(">"), []byte(`\u003e`))) {
			t.Errorf("block %+v", b)
		}
	}
}

// texts returns all strings in a value.
func texts(value any) (all []string) {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			all = append(all, texts(e)...)
		}
	case map[string]any:
		for _, e := range v {
			all = append(all, texts(e)...)
		}
	}
	return all
}

// Answers that get no member mnx.
func TestNotTold(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", maxTellBytes) + `"}`
	tests := []struct {
		name   string
		answer http.HandlerFunc
		body   string
	}{
		{"no object", answerWith(200, jsonType, `[1]`), `[1]`},
		{"no JSON", answerWith(200, jsonType, `{"a"`), `{"a"`},
		{"another type", answerWith(200, "text/plain", `{}`), `{}`},
		{"has one", answerWith(200, jsonType, `{"mn\u0078":1}`), `{"mn\u0078":1}`},
		{"an error", answerWith(400, jsonType, `{"error":{}}`), `{"error":{}}`},
		{"too long", answerWith(200, jsonType, long), long},
		{"too long, length untold", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, long)
		}, long},
		{"compressed all the same", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			answerWith(200, jsonType, "{}")(w, r)
		}, "{}"},
		{"no content", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := newBench(t, tt.answer).post(t, "/messages", `{`+ask+`}`)
			if body != tt.body || res.Header.Get("X-Mnx-State-Version") != "3" {
				t.Errorf("%d bytes %.60q, header %v", len(body), body, res.Header)
			}
		})
	}
}

func TestEmptyObject(t *testing.T) {
	_, body := newBench(t, answerWith(201, jsonType, " { } ")).post(t, "/messages", `{`+ask+`}`)
	if want := ` { "mnx":{"state":{"loaded":true,"key":"current_task","version":3,"bytes":22,"truncated":false}}} `; body != want {
		t.Errorf("%q, want %q", body, want)
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name, body string
		header     []string
		status     int
		code       string
	}{
		{"no JSON", `{`, nil, 400, "invalid_json_body"},
		{"an array", `[]`, nil, 400, "invalid_json_body"},
		{"empty", ``, nil, 400, "invalid_json_body"},
		{"mnx", `{"mnx":1}`, nil, 400, "invalid_request"},
		{"mnx twice", `{"mnx":{},"mnx":{}}`, nil, 400, "invalid_request"},
		{"subject", `{"mnx":{"subject_id":".."}}`, nil, 400, "invalid_key"},
		{"subject in the header", `{"mnx":{}}`, []string{"X-Subject-ID", "\xff"}, 400, "invalid_key"},
		{"too large", `{"a":"` + strings.Repeat("x", 5000) + `"}`, nil, 413, "value_too_large"},
		{"compressed", `{}`, []string{"Content-Encoding", "gzip"}, 415, "unsupported_content_encoding"},
		{"unreadable state", `{"messages":[],"mnx":{"subject_id":"u","state":{"load":true,"keys":["current_task","unreadable"]}}}`, nil, 503, "no_leader"},
	}
	b := newBench(t, answerWith(200, jsonType, "{}"), func(c *Config) { c.MaxBodyBytes = 4096 })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := b.post(t, "/chat/completions", tt.body, tt.header...)
			var e struct{ Error, Message string }
			if err := json.Unmarshal([]byte(body), &e); err != nil || res.StatusCode != tt.status || e.Error != tt.code || e.Message == "" {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	t.Run("too large, length untold", func(t *testing.T) {
		r, _ := http.NewRequest(http.MethodPost, b.url+"/responses", io.MultiReader(strings.NewReader(strings.Repeat(" ", 9000))))
		res, err := bare.RoundTrip(r)
		if err != nil || res.StatusCode != 413 {
			t.Fatalf("%v, %v", res, err)
		}
		res.Body.Close()
	})
	if _, n := b.upstream.last(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

func TestUpstreamErrors(t *testing.T) {
	for _, status := range []int{302, 307, 400, 401, 404, 429, 500, 529} {
		b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", "7")
			answerWith(status, "text/html", "<h1>no</h1>")(w, r)
		})
		res, body := b.post(t, "/chat/completions", `{"messages":[],`+ask+`}`)
		if _, n := b.upstream.last(); n != 1 || res.StatusCode != status || body != "<h1>no</h1>" || res.Header.Get("Retry-After") != "7" || res.Header.Get("X-Mnx-State-Key") == "" {
			t.Errorf("%d %q %v after %d requests", res.StatusCode, body, res.Header, n)
		}
	}
}

func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	b := newBench(t, nil, func(c *Config) { c.OpenAIURL = gone.URL })
	res, body := b.post(t, "/responses", `{`+ask+`}`)
	host := strings.TrimPrefix(gone.URL, "http://")
	if res.StatusCode != 502 || !strings.Contains(body, `"error":"upstream_unreachable"`) || strings.Contains(body, host) || res.Header.Get("X-Stateraft-Node") != "n1" {
		t.Errorf("%d %s %v", res.StatusCode, body, res.Header)
	}
	if !strings.Contains(b.log.String(), "refused") {
		t.Errorf("log %q", b.log)
	}
}

// An upstream that breaks off before anything was passed on is a 502.
func TestBreaksOffEarly(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"before the header": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"in a body that is told of": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			answerWith(200, jsonType, "{")(w, nil)
			panic(http.ErrAbortHandler)
		},
	} {
		res, body := newBench(t, answer).post(t, "/messages", `{`+ask+`}`)
		if res.StatusCode != 502 || !strings.Contains(body, "upstream_unreachable") {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
}

func TestTimeout(t *testing.T) {
	ended := make(chan struct{})
	b := newBench(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	}, func(c *Config) { c.Timeout = 3 * time.Second }) // by then the request is there
	b.writeTimeout = 20 * time.Millisecond // over before the answer begins
	res, body := b.post(t, "/chat/completions", `{}`)
	if res.StatusCode != 504 || !strings.Contains(body, `"error":"upstream_timeout"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	awaitEnd(t, ended)
}

func TestInFlight(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-leave
	}, func(c *Config) { c.MaxInFlight = 1 })
	done := make(chan struct{})
	go func() { defer close(done); b.post(t, "/messages", `{}`) }()
	<-arrived
	res, body := b.post(t, "/messages", `{}`)
	if res.StatusCode != 429 || !strings.Contains(body, `"error":"overloaded"`) || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	close(leave)
	<-done
	go func() { <-arrived }()
	for deadline := time.Now().Add(patience); res.StatusCode == 429; { // until the first has been counted out
		if time.Now().After(deadline) {
			t.Fatal("a request is counted that has been answered")
		}
		res, _ = b.post(t, "/messages", `{}`)
	}
}

// A request never goes on with less state than it asked for.
func TestLookupReturnsLess(t *testing.T) {
	b := newBench(t, answerWith(200, jsonType, "{}"))
	less := func(context.Context, string, []string) ([]inject.Entry, error) { return nil, nil }
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{`+ask+`}`))
	if err := b.proxy.Serve(httptest.NewRecorder(), r, inject.Messages, less); err == nil {
		t.Error("it was answered")
	}
	if _, n := b.upstream.last(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

// The environment's proxy is the operator's for other programs, not for this.
func TestEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	if p := newTransport().Proxy; p != nil {
		t.Error("requests go by the environment's proxy")
	}
}

func TestWithoutToken(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"beta=true&x=%zz;1":             "beta=true&x=%zz;1",
		"access_token=s":                "",
		"a=1&access_token=s&b=2":        "a=1&b=2",
		"%61ccess_token=s&a=1&a=2":      "a=1&a=2",
		"access_tokens=1&my_access=%41": "access_tokens=1&my_access=%41",
	} {
		if got := withoutToken(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		if v, err := url.ParseQuery(withoutToken(in)); err == nil && v.Has("access_token") {
			t.Errorf("%q still has a token", in)
		}
	}
}

// No key of anybody's is ever in the log, the metrics or an error.
func TestSecrets(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	keys := []string{"x-openai-key", "SECRET-1", "x-anthropic-key", "SECRET-2", "x-mnexium-key", "SECRET-3", "Authorization", "Bearer SECRET-4", "x-api-key", "SECRET-5"}
	answers := []http.HandlerFunc{
		answerWith(200, jsonType, "{}"), answerWith(401, jsonType, "{}"),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	for _, answer := range answers {
		b := newBench(t, answer, func(c *Config) { c.AnthropicURL = gone.URL; c.Timeout = 30 * time.Millisecond })
		var said bytes.Buffer
		for _, path := range []string{"/chat/completions", "/responses", "/messages"} {
			for _, body := range []string{`{}`, `{`, `{"mnx":{"subject_id":"u","state":{"load":true,"key":"unreadable"}}}`} {
				_, answer := b.post(t, path+"?access_token=SECRET-6", body, keys...)
				said.WriteString(answer)
			}
		}
		families, err := b.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			said.WriteString(f.String())
		}
		said.WriteString(b.log.String())
		if strings.Contains(said.String(), "SECRET") || said.Len() == 0 {
			t.Errorf("%s", said.String())
		}
	}
}
