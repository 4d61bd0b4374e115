package cluster

import (
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotSilence is how long a snapshot that is being sent may pause.
const snapshotSilence = raftTimeout

// watchSnapshot has the sender of a snapshot cut off when nothing comes any more.
// Raft reads it where it also votes, without a limit, and a sender that is
// paused keeps its connection: so there would be no leader until it goes on.
func (g *rpcGate) watchSnapshot(rpc raft.RPC) raft.RPC {
	if c, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok && rpc.Reader != nil {
		silent := time.AfterFunc(time.Hour, func() { g.sever(string(c.ID)) })
		silent.Stop()
		rpc.Reader = &watchedReader{rpc.Reader, silent}
	}
	return rpc
}

// A watchedReader runs a timer while it waits.
type watchedReader struct {
	from   io.Reader
	silent *time.Timer
}

func (r *watchedReader) Read(p []byte) (int, error) {
	r.silent.Reset(snapshotSilence)
	defer r.silent.Stop()
	return r.from.Read(p)
}
