package main

// What the linker is told by "make build"; see also the build information that
// the go command puts into every binary.
var (
	version = "dev"
	commit  = ""
)
