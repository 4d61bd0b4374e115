package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/fsm"
)

// buildJSON is what --output json tells of this binary.
type buildJSON struct {
	Version  string       `json:"version"`
	Commit   string       `json:"commit"`
	Go       string       `json:"go"`
	Platform string       `json:"platform"`
	Protocol protocolJSON `json:"protocol"`
}

type protocolJSON struct {
	Min uint32 `json:"min"`
	Max uint32 `json:"max"`
}

func newVersionCommand() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and protocol range of this binary",
		Long: `Print version, commit and protocol range of this binary. A cluster can be
upgraded node by node while the ranges of all its binaries hold the protocol
version that "stateraft cluster status" shows on a terminal, or as .version.cluster
with --output json.`,
		Example: `  stateraft version
  stateraft version --output json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showBuild(newOutput(cmd.OutOrStdout(), form), thisBuild())
		},
	}
	outputFlag(cmd.Flags(), &form)
	return cmd
}

func thisBuild() buildJSON {
	return buildJSON{
		Version:  version,
		Commit:   commitOf(debug.ReadBuildInfo()),
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Protocol: protocolJSON{Min: fsm.MinVersion, Max: fsm.MaxVersion},
	}
}

// commitOf is the linker's word, else that of the go command.
func commitOf(info *debug.BuildInfo, ok bool) string {
	if commit != "" || !ok {
		return commit
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

func showBuild(o *output, b buildJSON) error {
	if o.form == formJSON {
		return o.json(b)
	}
	commit := b.Commit
	if commit == "" {
		commit = "unknown"
	}
	return o.line(fmt.Sprintf("stateraft %s\ncommit    %s\nprotocol  %d to %d\nbuilt by  %s %s",
		b.Version, commit, b.Protocol.Min, b.Protocol.Max, b.Go, b.Platform))
}
