// Package fsm holds the replicated state, versioned JSON keys and what is
// remembered about their writers, and the one function, [State.Apply], that
// changes it.
//
// # Determinism
//
// Everything here is deterministic: given the same entries in the same order,
// every node holds the same bytes, which [Image.Save] writes and
// [Stats] sums up in a hash. To keep that true, nothing in this package reads a
// clock, draws a random number, starts a goroutine, does I/O of its own, or
// lets the order of a map reach a result. What an entry needs from outside
// (the time, a limit set by a flag) the leader puts into it. An entry that
// this build does not know in full stops the node: to skip it would let the
// node drift from the others without anyone noticing.
//
// # Time
//
// Cluster time is a number of microseconds that only grows, moved by the
// stamps of the log's entries. A key whose deadline is at or before it is
// absent in every read, list and condition, at the same log position on every
// node, also before its expiry is written down as a change. Instants shown to
// users are cluster time plus an offset that the log carries.
//
// # Versions and revisions
//
// A version counts the changes of one key: each set, delete and expiry takes
// one. A version of a key never comes back: a namespace keeps a floor, the
// highest version that a delete or an expiry took in it, and a key made anew
// starts above it. A revision counts all changes of the cluster; every change
// has its own.
//
// # Exactly once
//
// Writes arrive in batches (session, sequence). The answer to a batch is kept
// until its sender says, by a batch with a higher low, that it has it; so a
// batch may be proposed any number of times, by any leader, and is executed
// once.
package fsm
