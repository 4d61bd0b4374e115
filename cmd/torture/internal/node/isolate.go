package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// isolatedEnv marks the process that Isolate starts.
const isolatedEnv = "STATERAFT_TORTURE_ISOLATED"

// unshare gives a process network, mount and process namespaces of its own: with
// it all that it started ends, and all that it set up goes, however it ends.
var unshare = []string{"unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}

// Isolated reports whether this process is one that Isolate has started.
func Isolated() bool { return os.Getenv(isolatedEnv) != "" }

// CanIsolate returns nil if nodes can have network namespaces, else why not.
func CanIsolate() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	for _, tool := range []string{"unshare", "ip", "nft", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	if out, err := exec.Command(unshare[0], append(unshare[1:], "true")...).CombinedOutput(); err != nil {
		return fmt.Errorf("no namespaces: %w: %s", err, out)
	}
	return nil
}

// Isolate runs this program once more, with the same arguments, in namespaces
// of its own, and returns its exit code. It hands SIGINT and SIGTERM on.
func Isolate() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(unshare[0], append(append(unshare[1:], self), os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), isolatedEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = childAttributes()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			syscall.Kill(-cmd.Process.Pid, sig.(syscall.Signal)) // unshare itself does not heed it
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return exit.ExitCode(), nil
			}
			return 0, err
		}
	}
}
