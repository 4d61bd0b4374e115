package contract

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

var dir = Dir("../..")

// cases are all that make calls.
func cases(t *testing.T) []Case {
	all := RetryTable(t, dir).Cases
	for _, more := range Calls(t, dir) {
		all = append(all, more...)
	}
	return all
}

// Ensure each method and each of its arguments has a case, and that no case has
// an argument that its method does not take.
func TestMethodsAreCovered(t *testing.T) {
	used := map[string]map[string]bool{}
	note := func(name string, c Call, raw json.RawMessage) {
		var args map[string]json.RawMessage
		if err := json.Unmarshal(raw, &args); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if used[c.Method] == nil {
			used[c.Method] = map[string]bool{}
		}
		for arg := range args {
			if arg == "raw" {
				arg = "value"
			}
			used[c.Method][arg] = true
		}
	}
	for _, c := range cases(t) {
		for _, s := range c.Steps {
			note(c.Name, s.Call, s.Call.text)
		}
	}
	for _, file := range Streams(t, dir) {
		for _, c := range file {
			note(c.Name, c.Subscribe, c.Subscribe.text)
		}
	}
	for _, m := range Methods(t, dir) {
		got := slices.Sorted(maps.Keys(used[m.Method]))
		if want := slices.Sorted(slices.Values(m.Args)); !slices.Equal(got, want) {
			t.Errorf("%s: the cases use %q, its arguments are %q", m.Method, got, want)
		}
		if _, ok := used[m.Method]; !ok {
			t.Errorf("%s has no case", m.Method)
		}
		delete(used, m.Method)
	}
	for method := range used {
		t.Errorf("%s is not in methods.json", method)
	}
}

// Ensure each code has a case, and that no case has another.
func TestErrorsAreCovered(t *testing.T) {
	met := map[string]bool{}
	note := func(name string, raw json.RawMessage) {
		var e struct{ Code string }
		if raw == nil {
			return
		}
		if err := json.Unmarshal(raw, &e); err != nil || e.Code == "" {
			t.Errorf("%s: error %s, %v", name, raw, err)
		}
		met[e.Code] = true
	}
	for _, c := range cases(t) {
		for _, s := range c.Steps {
			note(c.Name, s.Error)
		}
	}
	for _, file := range Streams(t, dir) {
		for _, c := range file {
			note(c.Name, c.Error)
		}
	}
	delete(met, "SOMETHING_NEW") // of a later version
	met["CLOSED"] = true         // each subscription that the test closes
	for _, e := range Errors(t, dir) {
		if !met[e.Code] {
			t.Errorf("%s has no case", e.Code)
		}
		delete(met, e.Code)
	}
	for code := range met {
		t.Errorf("%s is not in errors.json", code)
	}
}

// Ensure names tell cases apart.
func TestNames(t *testing.T) {
	unique := func(file string, names []string) {
		slices.Sort(names)
		for i := 1; i < len(names); i++ {
			if names[i] == names[i-1] {
				t.Errorf("%s has %q twice", file, names[i])
			}
		}
	}
	names := func(cases []Case) (list []string) {
		for _, c := range cases {
			list = append(list, c.Name)
		}
		return list
	}
	unique("retries.json", names(RetryTable(t, dir).Cases))
	for file, cases := range Calls(t, dir) {
		unique(file, names(cases))
	}
	for file, cases := range Streams(t, dir) {
		var list []string
		for _, c := range cases {
			list = append(list, c.Name)
		}
		unique(file, list)
	}
}
