package logstore

import (
	"runtime"

	"github.com/hashicorp/raft"
)

// ForRaft is a Store as Raft is to have it. Raft panics when it cannot save its
// term, or read an entry that is committed: the process would end of that, and
// not in the way that [Config.Fatal] chooses. Once the store has stopped, the two
// calls that can come to it end the goroutine that makes them (runtime.Goexit)
// instead of returning an error: Raft's main goroutine is one that has nothing
// left to do. It gives its leadership up, answers the RPC and the proposals that
// it was at, and Shutdown waits for it no longer.
//
// A future that it was handed alone, such as BootstrapCluster's, is then never
// answered. raft.NewRaft makes such calls, too. And who uses ForRaft must not
// pipeline AppendEntries: the goroutine that reads the answers would wait for
// ever for the one that sends.
type ForRaft struct{ *Store }

var (
	_ raft.LogStore    = ForRaft{}
	_ raft.StableStore = ForRaft{}
)

// GetLog is [Store.GetLog].
func (s ForRaft) GetLog(index uint64, l *raft.Log) error {
	return s.orEnd(s.Store.GetLog(index, l))
}

// SetUint64 is [Store.SetUint64].
func (s ForRaft) SetUint64(key []byte, n uint64) error {
	return s.orEnd(s.Store.SetUint64(key, n))
}

// Get is [Store.Get], but of the vote it tells only that there is one. Raft
// grants a vote again to who asks from the same address, without a look at its
// log; and an address may have passed to another candidate of that term. A
// candidate that did not get its answer asks in a later term.
func (s ForRaft) Get(key []byte) ([]byte, error) {
	value, err := s.Store.Get(key)
	if err == nil && string(key) == keyVote {
		value = []byte("given")
	}
	return value, err
}

func (s ForRaft) orEnd(err error) error {
	if err != nil && s.Err() != nil {
		s.cfg.Logger.Debug("raft cannot go on without its log", "err", err)
		runtime.Goexit()
	}
	return err
}
