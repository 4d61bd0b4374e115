package httpapi

import "github.com/stateraft/stateraft/httpapi/internal/jsonscan"

// compact removes the white space between value's tokens, in place. The value
// is known to be valid.
func compact(value []byte) []byte {
	out := value[:0]
	for i := jsonscan.Space(value, 0); i < len(value); {
		end := i + 1
		if value[i] == '"' {
			end = jsonscan.Value(value, i)
		}
		out = append(out, value[i:end]...)
		i = jsonscan.Space(value, end)
	}
	return out
}
