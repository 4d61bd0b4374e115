package auth

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// made is a key as NewToken makes it, with its record.
type made struct {
	token, id string
	record    []byte
}

func makeKey(t testing.TB, r Record) made {
	t.Helper()
	token, id, hash := NewToken()
	r.Hash = hash
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return made{token, id, data}
}

func (m made) lookup(_ context.Context, id string) ([]byte, error) {
	if id == m.id {
		return m.record, nil
	}
	return nil, nil
}

func scopes(t testing.TB, names ...string) Scopes {
	t.Helper()
	set, err := ParseScopes(names)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestVerify(t *testing.T) {
	const root = "0123456789abcdef"
	key := makeKey(t, Record{Project: "shop", Scopes: scopes(t, "state:read"), Prefixes: []string{"wf-"}})
	other, _, _ := NewToken()
	otherSecret := key.token[:len(tokenPrefix)+idLength] + other[len(tokenPrefix)+idLength:]
	last := key.token[len(key.token)-1:]
	flipped := strings.TrimSuffix(key.token, last) + map[bool]string{true: "B", false: "A"}[last == "A"]

	v, err := NewVerifier(key.lookup, root)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, token string
		want        string // id of the principal
		err         error
	}{
		{"key", key.token, key.id, nil},
		{"root", root, RootID, nil},
		{"nothing", "", "", ErrMissing},
		{"an id that there is not", other, "", ErrUnknown},
		{"another secret", otherSecret, "", ErrUnknown},
		{"last character changed", flipped, "", ErrUnknown},
		{"cut short", key.token[:len(key.token)-1], "", ErrUnknown},
		{"one character more", key.token + "A", "", ErrUnknown},
		{"upper case", strings.ToUpper(key.token), "", ErrUnknown},
		{"the id alone", key.id, "", ErrUnknown},
		{"no secret", tokenPrefix + key.id + "_", "", ErrUnknown},
		{"the record", string(key.record), "", ErrUnknown},
		{"root cut short", root[:15], "", ErrUnknown},
		{"root and more", root + "0", "", ErrUnknown},
		{"the word root", RootID, "", ErrUnknown},
		{"too long", strings.Repeat("x", maxTokenBytes+1), "", ErrUnknown},
	}
	for _, tt := range tests {
		p, err := v.Verify(context.Background(), tt.token)
		if p.ID != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %+v, %v, want id %q, %v", tt.name, p, err, tt.want, tt.err)
		}
		if err != nil && tt.token != "" && tt.token != RootID && strings.Contains(err.Error(), tt.token) {
			t.Errorf("%s: the error repeats the token", tt.name)
		}
	}
	p, _ := v.Verify(context.Background(), key.token)
	if p.Project != "shop" || !p.May("wf-1") || p.May("wf") || !p.Scopes.Has(StateRead) || p.Scopes.Has(StateWrite) || p.IsRoot() || !p.HasKey() {
		t.Errorf("principal %+v", p)
	}
}

// Without a root token none opens the door, the empty one least of all.
func TestNoRootToken(t *testing.T) {
	v, err := NewVerifier(made{}.lookup, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"", " ", RootID, "0123456789abcdef"} {
		if p, err := v.Verify(context.Background(), token); err == nil {
			t.Errorf("%q is %+v", token, p)
		}
	}
}

func TestLookupFails(t *testing.T) {
	failed := errors.New("no leader")
	token, id, _ := NewToken()
	for _, tt := range []struct {
		record string
		err    error
		want   string
	}{
		{"", failed, "no leader"},
		{`{"project":"p","scopes":["admin"]}`, nil, "the record of key " + id + ": hash is required"},
		{`{`, nil, "the record of key " + id},
	} {
		v, err := NewVerifier(func(context.Context, string) ([]byte, error) { return []byte(tt.record), tt.err }, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(context.Background(), token)
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: got %v", tt.record, err)
		}
	}
}

func TestCheckRoot(t *testing.T) {
	for token, ok := range map[string]bool{
		"0123456789abcdef": true, strings.Repeat("x", maxTokenBytes): true,
		"0123456789abcde": false, strings.Repeat("x", maxTokenBytes+1): false,
		"0123456789abcdef ": false, "0123456789abcdéf": false, "0123456789\nabcdef": false,
	} {
		if err := CheckRoot(token); (err == nil) != ok {
			t.Errorf("CheckRoot(%.20q) = %v", token, err)
		}
		if _, err := NewVerifier(nil, token); (err == nil) != ok || err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("NewVerifier(%.20q) = %v", token, err)
		}
	}
}

func TestNewToken(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		token, id, hash := NewToken()
		gotID, gotHash, ok := parseToken(token)
		if !ok || gotID != id || gotHash != hash || !strings.HasPrefix(token, "sr_"+id+"_") || len(token) != 59 {
			t.Fatalf("token of %d bytes, id %q", len(token), id)
		}
		if seen[id] || strings.Contains(token, fmt.Sprintf("%x", hash)) {
			t.Fatal("an id came twice, or the hash is in the token")
		}
		seen[id] = true
	}
}

func FuzzParseToken(f *testing.F) {
	token, _, _ := NewToken()
	f.Add(token)
	f.Add("sr__")
	f.Fuzz(func(t *testing.T, token string) {
		id, hash, ok := parseToken(token)
		if ok && (!IsID(id) || hash != hashOf(token[len(tokenPrefix)+idLength+1:])) {
			t.Errorf("%q gave %q", token, id)
		}
	})
}

func TestFromHeader(t *testing.T) {
	h := func(pairs ...string) map[string][]string {
		m := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = append(m[pairs[i]], pairs[i+1])
		}
		return m
	}
	tests := []struct {
		header map[string][]string
		want   string
		err    error
	}{
		{h(), "", nil},
		{h("Authorization", "Bearer a"), "a", nil},
		{h("Authorization", "bearer  a "), "a", nil},
		{h("X-Mnexium-Key", "a"), "a", nil},
		{h("X-Mnexium-Key", "a", "Authorization", "Bearer b"), "a", nil},
		{h("X-Mnexium-Key", "a", "Authorization", "Basic b"), "a", nil},
		{h("X-Mnexium-Key", "", "Authorization", "Bearer b"), "", ErrMalformed},
		{h("X-Mnexium-Key", "a", "X-Mnexium-Key", "b"), "", ErrMalformed},
		{h("X-Cntrlnode-Key", "a", "Authorization", "Bearer b"), "a", nil},
		{h("X-Cntrlnode-Key", "b", "X-Mnexium-Key", "a"), "a", nil},
		{h("X-Cntrlnode-Key", "", "Authorization", "Bearer b"), "", ErrMalformed},
		{h("Authorization", "Bearer a", "Authorization", "Bearer b"), "", ErrMalformed},
		{h("Authorization", ""), "", ErrMalformed},
		{h("Authorization", "Bearer"), "", ErrMalformed},
		{h("Authorization", "Bearer "), "", ErrMalformed},
		{h("Authorization", "Basic a"), "", ErrMalformed},
		{h("Authorization", "a"), "", ErrMalformed},
	}
	for _, tt := range tests {
		if got, err := FromHeader(tt.header); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v: got %q, %v", tt.header, got, err)
		}
	}
}

func TestScopes(t *testing.T) {
	all := []Scope{StateRead, StateWrite, ChatWrite, Admin}
	for _, s := range all {
		set := scopes(t, s.String())
		for _, other := range all {
			if want := s == other || s == Admin; set.Has(other) != want {
				t.Errorf("%s has %s: %v", s, other, !want)
			}
		}
		if set.Has(Undecided) || !set.Has(Public) || !slices.Equal(set.Names(), []string{s.String()}) {
			t.Errorf("%s: %v", s, set.Names())
		}
	}
	for _, s := range append(all, Public, Undecided, Admin+1, 255) {
		if AllScopes.Has(s) != s.Decided() || Scopes(0).Has(s) != (s == Public) {
			t.Errorf("%s", s)
		}
	}
	for _, list := range [][]string{nil, {}, {""}, {"state"}, {"Admin"}, {"public"}, {"undecided"}, {"admin", "admin"}, {"state:read", "x"}} {
		if set, err := ParseScopes(list); err == nil {
			t.Errorf("%q is %v", list, set.Names())
		}
	}
}

func TestMay(t *testing.T) {
	some := Principal{Prefixes: []string{"a/", "b"}}
	for name, want := range map[string]bool{"a/x": true, "a/": true, "a": false, "b": true, "bb": true, "": false, "xb": false} {
		if some.May(name) != want || !Everybody.May(name) {
			t.Errorf("%q", name)
		}
	}
}

func TestRecord(t *testing.T) {
	good := Record{Name: "CI für \"x\"", Project: "a.b-c_D9", Scopes: scopes(t, "state:read", "chat:write"), Prefixes: []string{"wf-", "é"}, Hash: hashOf("s")}
	data, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeRecord(data)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(good) {
		t.Errorf("got %+v, %v", back, err)
	}
	tests := []struct {
		change func(*Record)
		want   string
	}{
		{func(r *Record) { r.Name = strings.Repeat("x", 129) }, "name must be 0 to 128 bytes"},
		{func(r *Record) { r.Name = "a\nb" }, "name must not hold control characters"},
		{func(r *Record) { r.Project = "" }, "project must be 1 to 64 bytes"},
		{func(r *Record) { r.Project = "a\x00b" }, "project must be letters"},
		{func(r *Record) { r.Project = "-a" }, "project must be letters"},
		{func(r *Record) { r.Prefixes = []string{""} }, "prefixes[0] must be 1 to 256 bytes"},
		{func(r *Record) { r.Prefixes = []string{"a", "\xff"} }, "prefixes[1] must be valid UTF-8"},
		{func(r *Record) { r.Prefixes = make([]string, 17) }, "prefixes must be at most 16"},
		{func(r *Record) { r.Scopes = AllScopes }, "prefixes are not for the scope admin"},
	}
	for _, tt := range tests {
		r := good
		tt.change(&r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"name":"n","project":"p","scopes":["admin"],"hash":"` + strings.Repeat("ab", 32) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRecord(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeRecord(again); err != nil || fmt.Sprint(back) != fmt.Sprint(r) {
			t.Errorf("%s: %+v, %v", data, back, err)
		}
	})
}

// Secrets and hashes are compared by subtle.ConstantTimeCompare and nothing
// else: no == or bytes.Equal has one on a side.
func TestComparesInConstantTime(t *testing.T) {
	fset := token.NewFileSet()
	files := map[string]*ast.File{}
	for _, name := range []string{"token.go", "verifier.go"} {
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	constantTime := 0
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if n.Sel.Name == "ConstantTimeCompare" {
					constantTime++
				}
			case *ast.BinaryExpr:
				secret := func(e ast.Expr) bool {
					id, ok := e.(*ast.Ident)
					return ok && slices.Contains([]string{"secret", "hash", "root", "h", "other", "token"}, id.Name)
				}
				empty := func(e ast.Expr) bool {
					lit, ok := e.(*ast.BasicLit)
					return ok && lit.Value == `""`
				}
				if (n.Op == token.EQL || n.Op == token.NEQ) && (secret(n.X) && !empty(n.Y) || secret(n.Y) && !empty(n.X)) {
					t.Errorf("%s compares a secret", fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if constantTime != 1 {
		t.Errorf("%d constant-time comparisons, want 1: the one in equal", constantTime)
	}
}

func BenchmarkVerify(b *testing.B) {
	key := makeKey(b, Record{Project: "shop", Scopes: scopes(b, "state:read", "state:write"), Prefixes: []string{"wf-"}})
	v, err := NewVerifier(key.lookup, "0123456789abcdef")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(context.Background(), key.token); err != nil {
			b.Fatal(err)
		}
	}
}
