package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/fsm"
	"github.com/stateraft/stateraft/httpapi"
	"github.com/stateraft/stateraft/snapshot"
)

func newInspectCommand() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Verify a backup and show what it holds",
		Long: `Verify all checksums of a backup, or of a node's snapshot (state.bin in its data
directory), and show what it is of and what it holds. It asks no node.`,
		Example: `  stateraft inspect monday.backup
  stateraft inspect monday.backup --output json | jq .revision`,
		Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := inspectFile(args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return showInspection(newOutput(cmd.OutOrStdout(), form), found)
		},
	}
	outputFlag(cmd.Flags(), &form)
	return cmd
}

// inspectionJSON is what a file holds, as --output json tells it.
type inspectionJSON struct {
	Kind      string               `json:"kind"`    // backup, snapshot
	Version   uint32               `json:"version"` // of the backup format, or of the protocol
	ClusterID string               `json:"clusterId,omitempty"`
	Created   *string              `json:"created,omitempty"`
	Revision  uint64               `json:"revision"`
	Index     uint64               `json:"index,omitempty"` // of the log, in a snapshot
	Keys      uint64               `json:"keys"`
	Holds     map[string]tallyJSON `json:"holds"` // by kind of namespace
	Sessions  int                  `json:"sessions,omitempty"`
	Records   int                  `json:"records,omitempty"`
	Changes   int                  `json:"changes,omitempty"`
	Size      int64                `json:"size"` // bytes
	SHA256    string               `json:"sha256"`
}

type tallyJSON struct {
	Namespaces  int    `json:"namespaces"`
	Keys        int    `json:"keys"`
	KeysWithTTL int    `json:"keysWithTtl"`
	Floors      int    `json:"floors"`
	Bytes       uint64 `json:"bytes"`
}

func inspectFile(path string) (inspectionJSON, error) {
	f, err := os.Open(path)
	if err != nil {
		return inspectionJSON{}, err
	}
	defer f.Close()
	info, err := snapshot.Verify(f)
	if err != nil {
		return inspectionJSON{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return inspectionJSON{}, err
	}
	found, err := fsm.Inspect(f, httpapi.NamespaceKind)
	if err != nil {
		return inspectionJSON{}, err
	}
	return newInspectionJSON(info, found), nil
}

func newInspectionJSON(info snapshot.Info, found fsm.Inspection) inspectionJSON {
	j := inspectionJSON{
		Kind: "snapshot", Version: found.Version, Holds: map[string]tallyJSON{},
		Revision: found.State.GetRevision(), Index: found.State.GetIndex(), Keys: found.State.GetKeys(),
		Sessions: found.Sessions, Records: found.Records, Changes: found.Changes,
		Size: info.Size, SHA256: fmt.Sprintf("%x", info.SHA256),
	}
	if h := found.Backup; h != nil {
		j.Kind, j.ClusterID, j.Revision, j.Keys = "backup", h.ClusterId, h.Revision, h.Keys
		j.Created = instantJSON(time.UnixMicro(h.Created))
	}
	for kind, t := range found.Kinds {
		j.Holds[kind] = tallyJSON(t)
	}
	return j
}

func showInspection(o *output, j inspectionJSON) error {
	if o.form == formJSON {
		return o.json(j)
	}
	if err := o.line(fmt.Sprintf("whole: a %s of revision %d, format %d, %s", j.Kind, j.Revision, j.Version, humanBytes(uint64(j.Size)))); err != nil {
		return err
	}
	if j.Created != nil {
		if err := o.line(fmt.Sprintf("of cluster %s, made at %s", j.ClusterID, *j.Created)); err != nil {
			return err
		}
	}
	if err := o.line("sha256 " + j.SHA256); err != nil {
		return err
	}
	t := table{columns: []column{
		{title: "KIND"}, {title: "NAMESPACES", right: true}, {title: "KEYS", right: true}, {title: "WITH TTL", right: true}, {title: "FLOORS", right: true}, {title: "BYTES", right: true},
	}}
	for _, kind := range slices.Sorted(maps.Keys(j.Holds)) {
		h := j.Holds[kind]
		t.add(kind, strconv.Itoa(h.Namespaces), strconv.Itoa(h.Keys), strconv.Itoa(h.KeysWithTTL), strconv.Itoa(h.Floors), strconv.FormatUint(h.Bytes, 10))
	}
	return o.table(t)
}
