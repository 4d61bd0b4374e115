package node

import "syscall"

// childAttributes put a node into a process group of its own, so that a Ctrl-C
// in the terminal does not reach it, and end it with its parent.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
