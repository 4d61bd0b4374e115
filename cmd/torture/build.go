package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"strings"
)

// build builds the server of this module. Equal sources give an equal binary.
func build(into string, stderr io.Writer) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", into, "github.com/stateraft/stateraft/cmd/stateraft")
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

// ownHash is that of this program.
func ownHash() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return hash(self)
}

// hash tells one build from another.
func hash(binary string) (string, error) {
	f, err := os.Open(binary)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:6]), nil
}
