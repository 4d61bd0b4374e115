package auth

import (
	"fmt"
	"strings"
)

// A Scope is what a caller must be allowed to use a route. The zero value
// means that nobody has decided yet: no route may have it.
type Scope uint8

const (
	Undecided  Scope = iota
	Public           // anybody, without a key
	StateRead        // state:read
	StateWrite       // state:write
	ChatWrite        // chat:write: calls of language models
	Admin            // admin: keys and the cluster; it includes the others
)

// scopeNames are the scopes that keys can have.
var scopeNames = []struct {
	scope Scope
	name  string
}{
	{StateRead, "state:read"},
	{StateWrite, "state:write"},
	{ChatWrite, "chat:write"},
	{Admin, "admin"},
}

func (s Scope) String() string {
	switch s {
	case Undecided:
		return "undecided"
	case Public:
		return "public"
	}
	for _, n := range scopeNames {
		if n.scope == s {
			return n.name
		}
	}
	return fmt.Sprintf("Scope(%d)", uint8(s))
}

// Decided reports whether s is one of the scopes that a route can have.
func (s Scope) Decided() bool { return s > Undecided && s <= Admin }

// Scopes is a set of scopes. None of them is Public, which needs no key.
type Scopes uint8

// AllScopes is what may be done where no key is asked for.
const AllScopes = Scopes(1 << Admin)

// Has reports whether s is in the set, by itself or because Admin is.
func (set Scopes) Has(s Scope) bool {
	return s == Public || s.Decided() && set&(1<<s|1<<Admin) != 0
}

// Names lists the scopes of the set, as ParseScopes takes them.
func (set Scopes) Names() []string {
	list := []string{}
	for _, n := range scopeNames {
		if set&(1<<n.scope) != 0 {
			list = append(list, n.name)
		}
	}
	return list
}

// ParseScopes is the inverse of Names. It refuses an empty list, unknown names
// and names given twice.
func ParseScopes(list []string) (set Scopes, err error) {
	if len(list) == 0 {
		return 0, fmt.Errorf("must hold at least one of %s", knownScopes())
	}
	for _, name := range list {
		s, ok := scopeNamed(name)
		switch {
		case !ok:
			return 0, fmt.Errorf("must hold only %s, not %.40q", knownScopes(), name)
		case set&(1<<s) != 0:
			return 0, fmt.Errorf("holds %s twice", name)
		}
		set |= 1 << s
	}
	return set, nil
}

func scopeNamed(name string) (Scope, bool) {
	for _, n := range scopeNames {
		if n.name == name {
			return n.scope, true
		}
	}
	return Undecided, false
}

func knownScopes() string {
	list := make([]string, len(scopeNames))
	for i, n := range scopeNames {
		list[i] = n.name
	}
	return strings.Join(list, ", ")
}
