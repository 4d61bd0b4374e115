package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// foreign says that an answer is whole and none that a node may give.
const foreign = "an answer that is not of the contract"

// answerBody has the members of all answers, of both APIs.
type answerBody struct {
	Value   json.RawMessage
	Version uint64
	Deleted bool
	Next    string
	Entries []entryBody
	Data    []entryBody
	Results []struct {
		Version uint64
		Deleted bool
	}

	Code, Error      string // of both at least one
	Outcome          string
	Op               int
	CurrentVersion   uint64
	CurrentVersionOf uint64 `json:"current_version"`
	CurrentValue     json.RawMessage
}

type entryBody struct {
	Key       string
	Value     json.RawMessage
	Version   uint64
	ExpiresAt string
	EndsAt    string `json:"expires_at"`
}

// code is the error's, in capitals.
func (b *answerBody) code() string {
	if b.Code != "" {
		return b.Code
	}
	return strings.ToUpper(b.Error)
}

// read makes an answer of a response.
func read(r Request, status int, body []byte) Answer {
	isWrite := r.Kind.IsWrite()
	if status == http.StatusNotModified && r.If == history.IfChanged {
		return Answer{Outcome: history.OK, Conflict: true, Version: r.Expected}
	}
	var b answerBody
	if err := json.Unmarshal(body, &b); err != nil {
		return Answer{Outcome: history.Unknown, Error: fmt.Sprint(foreign, ", status ", status)}
	}
	isConflict := status == http.StatusConflict || status == http.StatusPreconditionFailed
	switch {
	case status == http.StatusOK:
		return b.success(r)
	case status == http.StatusNotFound && r.Kind == history.Get:
		return Answer{Outcome: history.OK}
	case isConflict && isWrite && b.code() == "VERSION_CONFLICT":
		return Answer{
			Outcome: history.OK, Conflict: true, Failed: b.Op, Version: max(b.CurrentVersion, b.CurrentVersionOf),
			Present: string(b.CurrentValue), Steps: r.Steps,
		}
	case !isWrite, b.Outcome == "not_applied":
		return Answer{Outcome: history.Refused, Error: b.code()}
	}
	return Answer{Outcome: history.Unknown, Error: b.code()}
}

func (b *answerBody) success(r Request) Answer {
	a := Answer{Outcome: history.OK, Version: b.Version}
	switch r.Kind {
	case history.Get:
		a.Found, a.Value = true, string(b.Value)
	case history.Delete:
		a.Found = b.Deleted
	case history.List:
		a.Entries, a.Next = entries(r, append(b.Entries, b.Data...)), b.Next
	case history.Atomic:
		a.Steps = slices.Clone(r.Steps)
		if len(b.Results) != len(a.Steps) {
			return Answer{Outcome: history.Unknown, Error: "results of " + strconv.Itoa(len(b.Results)) + " operations"}
		}
		for i, result := range b.Results {
			a.Steps[i].Version, a.Steps[i].Found = result.Version, result.Deleted
		}
	}
	return a
}

func entries(r Request, bodies []entryBody) []history.Entry {
	var all []history.Entry
	for _, e := range bodies {
		all = append(all, history.Entry{
			Workflow: r.Workflow, Agent: r.Agent, Key: e.Key, Value: string(e.Value), Version: e.Version, Expires: e.ExpiresAt + e.EndsAt,
		})
	}
	return all
}
