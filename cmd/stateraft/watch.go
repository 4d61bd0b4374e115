package main

import (
	"context"
	"math"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/stateraft/stateraft/client"
)

// watchConfig is everything that "stateraft watch" can be told.
type watchConfig struct {
	prefix   string
	snapshot bool
	from     uint64
}

func newWatchCommand() *cobra.Command {
	var r remote
	var c watchConfig
	cmd := &cobra.Command{
		Use:   "watch WORKFLOW [KEY]",
		Short: "Show changes as they happen",
		Long: `Show the changes of a key, or of all keys of a workflow, as they happen: each
once and in order, also when nodes fail meanwhile. Ctrl-C ends it.

A line has the type of the change (set, delete or expire), the key, its version,
the revision and the value. On a terminal it begins with the time of arrival, has
no revision, and the value is cut to the width; --output plain shows all. With
--output json each line is one document, with the old value too.

With --snapshot the keys that are there come first, and a synced line behind them.
Without it, and without --from, only what changes from here on is shown. A resync
line says that changes are missing which the cluster no longer remembers: what was
shown is void, and the keys that are there follow.

--timeout is how long it looks for a node that serves it, each time.`,
		Example: `  stateraft watch wf-1
  stateraft watch wf-1 status --snapshot
  stateraft watch wf-1 --prefix tool: --output json | jq -c .newValue
  stateraft watch wf-1 --from 1042`,
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		return arguments([]string{"WORKFLOW", "KEY"}[:max(1, min(len(args), 2))]...)(cmd, args)
	}
	cmd.PreRunE = c.check
	cmd.RunE = r.run(func(ctx context.Context, s *session) error {
		opts := append(c.options(cmd.Flags()), client.GiveUpAfter(r.timeout))
		err := watch(ctx, s, opts)
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		return err
	})
	c.bind(cmd.Flags())
	r.bind(cmd)
	return cmd
}

func (c *watchConfig) bind(fs *pflag.FlagSet) {
	fs.StringVar(&c.prefix, "prefix", "", "only keys that begin so")
	fs.BoolVar(&c.snapshot, "snapshot", false, "begin with the keys that are there")
	fs.Var(countValue(&c.from, 0, math.MaxUint64), "from", "begin behind this revision")
}

func (c *watchConfig) check(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 2 && c.prefix != "":
		return usageErrorf("--prefix and the argument KEY exclude each other")
	case c.snapshot && cmd.Flags().Changed("from"):
		return usageErrorf("--snapshot and --from exclude each other")
	}
	return nil
}

func (c *watchConfig) options(fs *pflag.FlagSet) (opts []client.SubscribeOption) {
	if c.prefix != "" {
		opts = append(opts, client.Prefix(c.prefix))
	}
	if c.snapshot {
		opts = append(opts, client.Snapshot())
	}
	if fs.Changed("from") {
		opts = append(opts, client.FromRevision(c.from))
	}
	return opts
}

func watch(ctx context.Context, s *session, opts []client.SubscribeOption) error {
	sub, err := subscribe(ctx, s, opts)
	if err != nil {
		return err
	}
	defer sub.Close()
	for event, err := range sub.Events() {
		if err != nil {
			return err
		}
		if err := showEvent(s.out, event, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func subscribe(ctx context.Context, s *session, opts []client.SubscribeOption) (*client.Subscription, error) {
	if len(s.args) == 1 {
		return s.State.SubscribeWorkflow(ctx, s.args[0], opts...)
	}
	return s.State.Subscribe(ctx, s.args[0], s.args[1], opts...)
}

func showEvent(o *output, e client.Event, arrived time.Time) error {
	switch o.shape() {
	case formJSON:
		return o.json(e)
	case formPlain:
		t := table{}
		t.add(string(e.Type), e.Key, formatCount(e.Version), formatCount(e.Revision), string(e.NewValue))
		return o.table(t)
	}
	return o.line(o.eventLine(e, arrived))
}

// formatCount leaves out what an event does not have.
func formatCount(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

var eventColours = map[client.EventType]string{
	client.EventSet: green, client.EventDelete: red, client.EventExpire: yellow, client.EventResync: red,
}

// eventLine is one line of a terminal, as long as it fits.
func (o *output) eventLine(e client.Event, arrived time.Time) string {
	at, kind := arrived.Format("15:04:05.000"), string(e.Type)
	if e.Key == "" {
		return o.paint(dim, at) + "  " + o.paint(eventColours[e.Type], kind)
	}
	const kindWidth = len(client.EventSnapshot)
	pad := "        "[:kindWidth-min(len(kind), kindWidth)]
	version := "v" + formatCount(e.Version)
	used := utf8.RuneCountInString(at + kind + pad + e.Key + version + "        ")
	return o.paint(dim, at) + "  " + o.paint(eventColours[e.Type], kind) + pad + "  " + o.paint(bold, e.Key) + "  " +
		o.paint(dim, version) + "  " + cutTo(string(e.NewValue), o.width()-used)
}

// cutTo shortens text to that many characters, but not below a few.
func cutTo(text string, most int) string {
	const least = 8
	most = max(most, least)
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// width is that of the terminal, in characters.
func (o *output) width() int {
	if f, ok := o.w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}
