package main

import "syscall"

// childAttributes put a child into a process group of its own, so that a
// Ctrl-C in the terminal reaches it only through its parent, and end it with
// its parent, however that ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
