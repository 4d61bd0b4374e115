package main

import (
	"io"
	"os/exec"
	"strings"
)

// build builds the server of this module.
func build(into string, stderr io.Writer) error {
	cmd := exec.Command("go", "build", "-o", into, "github.com/stateraft/stateraft/cmd/stateraft")
	cmd.Stderr = stderr
	return cmd.Run()
}

// version is what the server says of itself, in one line.
func version(binary string) string {
	out, err := exec.Command(binary, "version").Output()
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(string(out)), " ")
}
