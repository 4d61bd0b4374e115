package logstore

import (
	"bytes"
	"fmt"
	"slices"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// The values that Raft keeps. It has no others.
const (
	KeyTerm     = "CurrentTerm" // the others are for this package alone
	keyVoteTerm = "LastVoteTerm"
	keyVote     = "LastVoteCand"
)

// Get reads a value, which must not be written to. Raft takes an error whose
// text is "not found" for none.
func (s *Store) Get(key []byte) ([]byte, error) {
	b, err := s.remembered()
	switch {
	case err != nil:
		return nil, err
	case string(key) != keyVote || b.voteTerm == 0:
		return nil, raftboltdb.ErrKeyNotFound
	}
	return b.candidate, nil
}

// GetUint64 reads a number. 0 and "not found" mean the same.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	b, err := s.remembered()
	n := b.term
	if string(key) != KeyTerm {
		n = b.voteTerm
	}
	switch {
	case err != nil:
		return 0, err
	case n == 0 || string(key) != KeyTerm && string(key) != keyVoteTerm:
		return 0, raftboltdb.ErrKeyNotFound
	}
	return n, nil
}

func (s *Store) remembered() (ballot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ballot, s.Err()
}

// SetUint64 writes a number. LastVoteTerm waits in memory for LastVoteCand,
// which Raft writes next: a crash between two writes would join the new term to
// the old candidate, and so grant a vote that nobody decided.
func (s *Store) SetUint64(key []byte, n uint64) error {
	switch string(key) {
	case KeyTerm:
		return s.remember(func(b *ballot) { b.term = n })
	case keyVoteTerm:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending = n
		return s.Err()
	}
	return s.unknown(key)
}

// Set writes a value.
func (s *Store) Set(key, value []byte) error {
	if string(key) != keyVote {
		return s.unknown(key)
	}
	s.mu.RLock()
	term := s.pending
	s.mu.RUnlock()
	return s.remember(func(b *ballot) { b.voteTerm, b.candidate = term, slices.Clone(value) })
}

func (s *Store) unknown(key []byte) error {
	return s.fail(fmt.Errorf("there is no place for the stable value %q", key))
}

// remember writes the ballot with a change, unless that changes nothing.
func (s *Store) remember(change func(*ballot)) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	next := s.ballot
	change(&next)
	if next.term == s.ballot.term && next.voteTerm == s.ballot.voteTerm && bytes.Equal(next.candidate, s.ballot.candidate) {
		return nil
	}
	record := state{stamp{s.tx + 1, s.steps, s.head}, next}.record()
	if err := s.transact(func() error { return s.bolt.Set(stateKey, record) }); err != nil {
		return err
	}
	s.state = s.tx
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ballot = next
	return nil
}
