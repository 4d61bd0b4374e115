package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stateraft/stateraft/cluster/clusterpb"
)

// The first byte of a connection says what it is for.
const (
	raftStream byte = 'R' // hashicorp/raft's own protocol
	nodeCalls  byte = 'N' // clusterpb.Frame, see rpc.go
)

// Each side of a handshake names the newest wire version it speaks, and the
// lower of the two is spoken; so a node with a newer one can be added to a
// cluster of older ones. Below oldestWire a side refuses.
const (
	wireVersion = 1
	oldestWire  = 1
)

const (
	handshakeTimeout = 5 * time.Second // to connect, TLS included, and to say hello
	maxHello         = 4 << 10         // bytes
)

// greet opens a connection that this side dialled and returns what the other
// side said of itself.
func greet(conn net.Conn, kind byte, ours *clusterpb.Hello) (*clusterpb.Hello, error) {
	msg, err := appendBlock([]byte{kind}, ours, maxHello)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	theirs, err := readHello(conn)
	if err != nil {
		return nil, err
	}
	if theirs.Refusal != "" {
		return nil, fmt.Errorf("node %q refused the connection: %s", theirs.NodeId, theirs.Refusal)
	}
	if why := refusal(kind, ours, theirs); why != "" {
		return nil, fmt.Errorf("node %q answered: %s", theirs.NodeId, why)
	}
	return theirs, nil
}

// welcome opens a connection that the other side dialled. admit says why the
// peer is not wanted, or nothing.
func welcome(conn net.Conn, ours *clusterpb.Hello, admit func(kind byte, theirs *clusterpb.Hello) string) (byte, *clusterpb.Hello, error) {
	var kind [1]byte
	if _, err := io.ReadFull(conn, kind[:]); err != nil {
		return 0, nil, err
	}
	if kind[0] != raftStream && kind[0] != nodeCalls {
		return 0, nil, fmt.Errorf("first byte %#x opens no conversation", kind[0])
	}
	theirs, err := readHello(conn)
	if err != nil {
		return 0, nil, err
	}
	why := admit(kind[0], theirs)
	msg, err := appendBlock(nil, &clusterpb.Hello{Wire: ours.Wire, ClusterId: ours.ClusterId, NodeId: ours.NodeId, Refusal: why}, maxHello)
	if err != nil {
		return 0, nil, err
	}
	if _, err := conn.Write(msg); err != nil {
		return 0, nil, err
	}
	if why != "" {
		return 0, nil, &refusedError{nodeID: theirs.NodeId, why: why}
	}
	return kind[0], theirs, nil
}

// refusal says why two nodes may not hold that conversation; empty: they may.
// Both sides apply it.
func refusal(kind byte, ours, theirs *clusterpb.Hello) string {
	switch {
	case theirs.Wire < oldestWire:
		return fmt.Sprintf("wire version %d is older than the oldest spoken here, %d", theirs.Wire, oldestWire)
	case theirs.NodeId == "":
		return "no node id given"
	case kind == nodeCalls && (len(ours.ClusterId) == 0 || len(theirs.ClusterId) == 0):
		return ""
	case len(ours.ClusterId) == 0:
		return "this node belongs to no cluster yet"
	case !bytes.Equal(ours.ClusterId, theirs.ClusterId):
		return fmt.Sprintf("this node belongs to cluster %x, not to %x", ours.ClusterId, theirs.ClusterId)
	case kind == raftStream && ours.NodeId == theirs.NodeId:
		return "this node has the same node id: was its data directory copied?"
	default:
		return ""
	}
}

func readHello(r io.Reader) (*clusterpb.Hello, error) {
	var buf bytes.Buffer
	if err := readBlock(r, &buf, maxHello); err != nil {
		return nil, fmt.Errorf("read hello: %w", err)
	}
	h := new(clusterpb.Hello)
	if err := proto.Unmarshal(buf.Bytes(), h); err != nil {
		return nil, fmt.Errorf("read hello: %w", err)
	}
	return h, nil
}

// A block is a four-byte big-endian length and as many bytes.
const blockHeader = 4

// appendBlock appends m as a block of at most limit bytes, header not counted.
func appendBlock(b []byte, m proto.Message, limit int) ([]byte, error) {
	at := len(b)
	b, err := proto.MarshalOptions{}.MarshalAppend(append(b, make([]byte, blockHeader)...), m)
	if err != nil {
		return nil, err
	}
	return sealBlock(b, at, limit)
}

// sealBlock writes the header of the block that begins at b[at].
func sealBlock(b []byte, at, limit int) ([]byte, error) {
	size := len(b) - at - blockHeader
	if size > limit {
		return nil, fmt.Errorf("message of %d bytes is larger than %d", size, limit)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(size))
	return b, nil
}

// readBlock replaces what is in buf by the next block. It takes nothing from r
// beyond that block, and memory only for bytes that came: a length is no more
// than a claim.
func readBlock(r io.Reader, buf *bytes.Buffer, limit int) error {
	var header [blockHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(header[:]))
	if size > int64(limit) {
		return fmt.Errorf("message of %d bytes is larger than %d", size, limit)
	}
	buf.Reset()
	if _, err := io.CopyN(buf, r, size); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
