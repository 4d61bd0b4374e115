package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/fsm"
)

func newRestoreCommand() *cobra.Command {
	var r remote
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the cluster hold what a backup holds",
		Long: `Make the cluster hold what a backup holds: keys, values, versions and deadlines,
less what has ended meanwhile; "-" is stdin. The cluster must have no keys;
--force replaces those that it has. API keys stay as they are.

The file is verified first, here (but for stdin) and by the node. Then all of it
takes effect at once, or nothing does. Streams tell their clients to begin anew,
and revisions from before are known as such. --timeout, a minute at most, is how
long the node tries each step; the whole is not bounded.

With authentication it takes the root token.`,
		Example: `  stateraft restore monday.backup
  stateraft restore monday.backup --force --endpoints http://10.0.0.1:7474`,
		Args: arguments("FILE"),
	}
	cmd.RunE = r.run(func(ctx context.Context, s *session) error {
		restored, err := restoreFrom(ctx, s, cmd, force)
		if err != nil {
			return err
		}
		return s.out.restored(restored)
	})
	cmd.Flags().BoolVar(&force, "force", false, "replace the keys that the cluster has")
	r.bind(cmd)
	return cmd
}

func restoreFrom(ctx context.Context, s *session, cmd *cobra.Command, force bool) (client.Restored, error) {
	if s.args[0] == "-" {
		return s.Cluster.Restore(ctx, s.in, force)
	}
	f, err := os.Open(s.args[0])
	if err != nil {
		return client.Restored{}, err
	}
	defer f.Close()
	size, err := verifyBackup(f)
	if err != nil {
		return client.Restored{}, fmt.Errorf("%s: %w; nothing was changed", s.args[0], err)
	}
	p := newTransfer(cmd.ErrOrStderr(), "sent", uint64(size))
	restored, err := s.Cluster.Restore(ctx, io.TeeReader(f, p), force)
	if errors.Is(err, client.ErrRefused) && !force {
		err = fmt.Errorf("%w (--force)", err)
	}
	return restored, errors.Join(err, p.end())
}

// verifyBackup reads the whole file, which is then at its beginning again.
func verifyBackup(f *os.File) (size int64, err error) {
	b, err := fsm.NewBackupReader(f, "")
	for err == nil {
		_, _, err = b.Next()
	}
	if err != io.EOF {
		return 0, err
	}
	if size, err = f.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return size, err
}

func (o *output) restored(r client.Restored) error {
	if o.form == formJSON {
		return o.json(r)
	}
	return o.line(fmt.Sprintf("%d keys of revision %d were restored; the cluster is at revision %d", r.Keys, r.Backup, r.Revision))
}
