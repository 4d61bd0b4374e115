package client

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestReadBody(t *testing.T) {
	for _, tt := range []struct {
		body string
		want error
	}{{"", nil}, {"1234", nil}, {"12345", errTooLong}} {
		if body, err := readBody(strings.NewReader(tt.body), 4); !errors.Is(err, tt.want) || err == nil && string(body) != tt.body {
			t.Errorf("%q: got %q, %v, want %v", tt.body, body, err, tt.want)
		}
	}
}

// Ensure that both views of the store name an error alike.
func TestResponseErrorCode(t *testing.T) {
	for _, body := range []string{`{"error":"NOT_FOUND","code":"NOT_FOUND"}`, `{"error":"not_found","message":"m"}`} {
		if e := responseError("", &http.Response{StatusCode: 404}, []byte(body)); !errors.Is(e, ErrNotFound) || e.Outcome != OutcomeNotApplied {
			t.Errorf("%s: got %#v", body, e)
		}
	}
}

// Ensure that no error of a node, however odd, is taken for a success or panics.
func FuzzResponseError(f *testing.F) {
	f.Add(409, []byte(`{"code":"VERSION_CONFLICT","outcome":"not_applied","currentVersion":3}`))
	f.Add(404, []byte(`{"error":"not_found"}`))
	f.Add(503, []byte(`<html>`))
	f.Add(500, []byte(`{"error":{"code":1}}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := responseError("", &http.Response{StatusCode: status}, body)
		if e.Code == "" || e.Outcome == "" || e.Error() == "" {
			t.Errorf("got %#v", e)
		}
		classify(e)
	})
}
