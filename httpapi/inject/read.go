package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Block is what a text tells of one key.
type Block struct {
	Entry
	Truncated bool
	Prefix    string // of the value's JSON text, if Truncated; Value is then nil
	Bytes     int    // of the whole value, if Truncated
}

// Read takes the blocks out of a text that Render made, which may follow other
// text. It refuses anything that Render does not write.
func Read(text string) ([]Block, error) {
	i := strings.LastIndex(text, intro+"\n"+open+"\n")
	if i < 0 {
		return nil, errors.New("there is no agent state in the text")
	}
	lines := strings.Split(text[i+len(intro)+1:], "\n")
	if len(lines)%3 != 0 {
		return nil, fmt.Errorf("%d lines are not a number of blocks", len(lines))
	}
	var blocks []Block
	for i := 0; i < len(lines); i += 3 {
		if lines[i] != open || lines[i+2] != shut {
			return nil, fmt.Errorf("line %d does not begin a block", i+1)
		}
		b, err := readBlock(lines[i+1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

func readBlock(line string) (Block, error) {
	var in struct {
		Key       string          `json:"key"`
		Version   uint64          `json:"version"`
		UpdatedAt *time.Time      `json:"updated_at"`
		ExpiresAt *time.Time      `json:"expires_at"`
		Value     json.RawMessage `json:"value"`
		Prefix    string          `json:"value_truncated"`
		Truncated bool            `json:"truncated"`
		Bytes     int             `json:"bytes"`
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return Block{}, err
	}
	if d.InputOffset() != int64(len(line)) {
		return Block{}, errors.New("something follows the object")
	}
	b := Block{Truncated: in.Truncated, Prefix: in.Prefix, Bytes: in.Bytes}
	b.Entry = Entry{Key: in.Key, Version: in.Version, Value: in.Value}
	if in.UpdatedAt != nil {
		b.UpdatedAt = *in.UpdatedAt
	}
	if in.ExpiresAt != nil {
		b.ExpiresAt = *in.ExpiresAt
	}
	return b, nil
}
