package auth

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// Namespace is where records are stored, each under its key's id. No workflow
// and no subject has it.
const Namespace = "k\x00"

// Limits of what a key is described with.
const (
	MaxNameBytes    = 128
	MaxProjectBytes = 64
	MaxPrefixes     = 16
	MaxPrefixBytes  = 256
)

// A Record is what is stored of a key: everything but its secret.
type Record struct {
	Name     string // for people
	Project  string
	Scopes   Scopes
	Prefixes []string
	Hash     Hash
}

type recordJSON struct {
	Name     string   `json:"name,omitempty"`
	Project  string   `json:"project"`
	Scopes   []string `json:"scopes"`
	Prefixes []string `json:"prefixes,omitempty"`
	Hash     Hash     `json:"hash"`
}

// Encode returns the record as one line of JSON.
func (r Record) Encode() ([]byte, error) {
	return json.Marshal(recordJSON{r.Name, r.Project, r.Scopes.Names(), r.Prefixes, r.Hash})
}

// DecodeRecord is the inverse of Encode. It refuses what Check does.
func DecodeRecord(data []byte) (Record, error) {
	var j recordJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Record{}, err
	}
	scopes, err := ParseScopes(j.Scopes)
	if err != nil {
		return Record{}, fmt.Errorf("scopes %w", err)
	}
	r := Record{j.Name, j.Project, scopes, j.Prefixes, j.Hash}
	if r.Hash == (Hash{}) {
		return Record{}, errors.New("hash is required")
	}
	return r, r.Check()
}

// Check says which member breaks its rule.
func (r Record) Check() error {
	if err := checkText(r.Name, 0, MaxNameBytes); err != nil {
		return fmt.Errorf("name %w", err)
	}
	if err := CheckProject(r.Project); err != nil {
		return fmt.Errorf("project %w", err)
	}
	if r.Scopes.Has(Admin) && len(r.Prefixes) > 0 {
		return errors.New("prefixes are not for the scope admin: who makes keys could make one without")
	}
	if len(r.Prefixes) > MaxPrefixes {
		return fmt.Errorf("prefixes must be at most %d, not %d", MaxPrefixes, len(r.Prefixes))
	}
	for i, p := range r.Prefixes {
		if err := checkText(p, 1, MaxPrefixBytes); err != nil {
			return fmt.Errorf("prefixes[%d] %w", i, err)
		}
	}
	return nil
}

// CheckProject says which rule a project's name breaks.
func CheckProject(project string) error {
	if len(project) == 0 || len(project) > MaxProjectBytes {
		return fmt.Errorf("must be 1 to %d bytes", MaxProjectBytes)
	}
	for i, c := range []byte(project) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return errors.New("must be letters, digits, dots, dashes and underscores, the first a letter or digit")
		}
	}
	return nil
}

func checkText(text string, least, most int) error {
	if len(text) < least || len(text) > most {
		return fmt.Errorf("must be %d to %d bytes", least, most)
	}
	return names.CheckText(text)
}

// Principal is the holder of the key of this id.
func (r Record) Principal(id string) Principal {
	return Principal{ID: id, Project: r.Project, Scopes: r.Scopes, Prefixes: r.Prefixes}
}
