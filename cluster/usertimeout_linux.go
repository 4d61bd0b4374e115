package cluster

import "syscall"

const tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT, which package syscall does not name

// controlSocket makes the kernel end a connection whose peer has acknowledged
// nothing sent to it, or taken nothing, for silenceTimeout. Without it a connection to a host that
// vanished looks healthy for a quarter of an hour, because writes end in the
// socket's buffer. Accepted connections take it over from their listener.
func controlSocket(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silenceTimeout.Milliseconds()))
	}); e != nil {
		return e
	}
	return err
}
