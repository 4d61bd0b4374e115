package httpapi

import (
	"strconv"
	"strings"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/fsm/fsmpb"
)

// What events say of how a key changed.
var changeTypes = map[fsmpb.Change_Type]string{
	fsmpb.Change_SET:    "set",
	fsmpb.Change_DELETE: "delete",
	fsmpb.Change_EXPIRE: "expire",
}

// changeData is the data of a change's event: one line of JSON, in which the
// values stand as they were sent. value repeats newValue for clients that look
// for it.
func changeData(c *fsm.Change) [][]byte {
	tail := appendMember(nil, "version", c.Version)
	tail = appendMember(tail, "revision", c.Revision)
	if c.First != 0 {
		tail = append(tail, `,"tx":{"first":`...)
		tail = strconv.AppendUint(tail, c.First, 10)
		tail = appendMember(tail, "last", c.Last)
		tail = append(tail, '}')
	}
	return eventData(changeTypes[c.Type], c.Namespace, c.Key, c.Old, c.New, append(tail, '}'))
}

// entryData is the data of the event that tells a present key.
func entryData(e *fsm.Entry) [][]byte {
	tail := append(appendMember(nil, "version", e.Version), '}')
	return eventData("snapshot", e.Namespace, e.Key, nil, e.Value, tail)
}

func eventData(kind, namespace, key string, before, after, tail []byte) [][]byte {
	b := append(make([]byte, 0, 64+len(namespace)+len(key)), `{"type":"`...)
	b = append(b, kind...)
	b = append(b, `",`...)
	b = append(b, scopeMember(namespace)...)
	b = append(b, ':')
	b = appendString(b, nameOf(namespace))
	b = append(b, `,"key":`...)
	b = appendString(b, key)
	b = append(b, `,"oldValue":`...)
	after = orNull(after)
	return [][]byte{b, orNull(before), newValueMember, after, valueMember, after, tail}
}

// scopeMember is what events call whose keys a namespace holds.
func scopeMember(namespace string) string {
	if strings.HasPrefix(namespace, subjects+"\x00") {
		return `"subject_id"`
	}
	return `"workflowId"`
}

var newValueMember, valueMember, null = []byte(`,"newValue":`), []byte(`,"value":`), []byte("null")

func orNull(value []byte) []byte {
	if value == nil {
		return null
	}
	return value
}
