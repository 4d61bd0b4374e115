package auth

import "strings"

// DefaultProject is whose keys are read and written where no key is asked for,
// and by the root token.
const DefaultProject = "default"

// A Principal is whoever sends a request.
type Principal struct {
	ID       string // of the key; RootID, or empty where no key is asked for
	Project  string // whose keys it reads and writes
	Scopes   Scopes
	Prefixes []string // the workflow or subject must begin with one of them; none: any
}

// RootID is the id of the root token's principal. No key has it.
const RootID = "root"

// Everybody is whoever sends a request where no key is asked for.
var Everybody = Principal{Project: DefaultProject, Scopes: AllScopes}

// Root is the holder of the root token.
var Root = Principal{ID: RootID, Project: DefaultProject, Scopes: AllScopes}

// IsRoot reports whether p may see to the keys of every project: Root and
// Everybody may.
func (p Principal) IsRoot() bool { return p.Scopes.Has(Admin) && !p.HasKey() }

// HasKey reports whether p is the holder of a stored key, which can end.
func (p Principal) HasKey() bool { return IsID(p.ID) }

// May reports whether p may act on a workflow or subject of its project.
func (p Principal) May(name string) bool {
	for _, prefix := range p.Prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return len(p.Prefixes) == 0
}
