// Package inject puts an agent's state into the body of a request to a
// language model. It is pure: a body and the state go in, a body comes out.
//
// Nothing is decoded and encoded again. All bytes of the caller's body that
// are not the mnx member stay as they are: the digits of numbers, the order of
// members, escapes, white space. Members given twice do as well, but for those
// that this package reads, which are refused.
//
// The state becomes text in which a fixed line says that what follows is data,
// and then there is one block for each key:
//
//	<agent-state>
//	{"key":"current_task","version":3,"updated_at":"2026-11-21T12:00:00.000Z","expires_at":null,"value":{"step":2}}
//	</agent-state>
//
// A block's JSON takes exactly one line, and holds neither < nor > nor any
// character that is invisible, changes the direction of text, or looks like an
// angle bracket: they are escaped as JSON allows (see safe). So no value can
// hold a line of its own, a delimiter, or text that people cannot see. The
// same state gives the same bytes, which keeps providers' prompt caches warm.
//
// A value that does not fit in the budget is replaced by the first part of its
// JSON text, as a string, with a mark:
//
//	"value_truncated":"{\"steps\":[\"research\",\"bo","truncated":true,"bytes":70512
package inject
