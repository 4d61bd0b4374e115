package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/snapshot"
)

func newBackupCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write what the cluster holds to a file",
		Long: `Write what the cluster holds at one moment to a file, while it serves: keys,
values, versions and deadlines of all projects; "-" is stdout. API keys are left
out. The file gets its name once it is whole, checked and on the disk; until
then it is FILE.tmp. A node may be silent for half of --timeout; the whole is not
bounded.

With authentication it takes the root token.`,
		Example: `  stateraft backup monday.backup
  stateraft backup - | ssh elsewhere 'cat > monday.backup'`,
		Args: arguments("FILE"),
	}
	cmd.RunE = r.run(func(ctx context.Context, s *session) error {
		p := newTransfer(cmd.ErrOrStderr(), "received", 0)
		if s.args[0] == "-" {
			_, err := s.Cluster.Backup(ctx, io.MultiWriter(s.out.w, p))
			return errors.Join(err, p.end())
		}
		revision, err := backupTo(ctx, s, s.args[0], p)
		if err = errors.Join(err, p.end()); err != nil {
			return err
		}
		return s.out.backedUp(s.args[0], revision, p.bytes)
	})
	r.bind(cmd)
	return cmd
}

// backupTo writes the backup beside the file and gives it its name in the end,
// so that what was there stays until then.
func backupTo(ctx context.Context, s *session, path string, p *transfer) (revision uint64, err error) {
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if revision, err = s.Cluster.Backup(ctx, io.MultiWriter(f, p)); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	if _, err := snapshot.Verify(f); err != nil {
		return 0, fmt.Errorf("what was received: %w", err)
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, err
	}
	return revision, syncDirectory(filepath.Dir(path))
}

// syncDirectory makes a new name in a directory last.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (o *output) backedUp(path string, revision, bytes uint64) error {
	if o.form == formJSON {
		return o.json(struct {
			File     string `json:"file"`
			Revision uint64 `json:"revision"`
			Bytes    uint64 `json:"bytes"`
		}{path, revision, bytes})
	}
	return o.line(fmt.Sprintf("%s holds revision %d (%s)", path, revision, humanBytes(bytes)))
}
