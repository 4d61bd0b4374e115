package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stateraft/stateraft/client"
)

func newClusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "See and change who is in the cluster and who leads it",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newClusterStatusCommand(), newClusterTransferCommand(), newClusterRemoveCommand(),
		newClusterDrainCommand())
	return cmd
}

func newClusterStatusCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes, who leads and how far each has come",
		Long: `Show the nodes as the one that is asked sees them: role, health, log entries
applied and behind the leader, revision, and by how much its clock differs.`,
		Example: `  stateraft cluster status
  stateraft cluster status --output json | jq -r .leader`,
		Args: noArguments,
		RunE: r.run(func(ctx context.Context, s *session) error {
			status, err := s.Cluster.Status(ctx)
			if err != nil {
				return err
			}
			return showStatus(s.out, status)
		}),
	}
	r.bind(cmd)
	return cmd
}

func newClusterTransferCommand() *cobra.Command {
	var r remote
	var to string
	cmd := &cobra.Command{
		Use:   "transfer-leadership",
		Short: "Move leadership to another node",
		Long: `Move leadership to another node, by name or id; without --to, to one that
is ready. A node that drains hands it on at once. Writes wait for some
milliseconds and none fails.`,
		Example: `  stateraft cluster transfer-leadership
  stateraft cluster transfer-leadership --to n2`,
		Args: noArguments,
		RunE: r.run(func(ctx context.Context, s *session) error {
			if err := s.Cluster.TransferLeadership(ctx, to); err != nil {
				return err
			}
			return s.out.done("leadership was transferred")
		}),
	}
	cmd.Flags().Var(textValue(&to, "node", notEmpty), "to", "the node that is to lead")
	r.bind(cmd)
	return cmd
}

func newClusterRemoveCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Remove a node from the cluster for good",
		Long: `Remove a node, by name or id, from the cluster for good: one that is dead, or
one that is meant to go. It can come back only as a new node, with an empty data
directory. A majority of the voters must be alive, also of those that remain:
remove what is dead first.`,
		Example: `  stateraft cluster remove n3`,
		Args:    arguments("NODE"),
		RunE: r.run(func(ctx context.Context, s *session) error {
			if err := s.Cluster.RemoveMember(ctx, s.args[0]); err != nil {
				return err
			}
			return s.out.done(s.args[0] + " was removed")
		}),
	}
	r.bind(cmd)
	return cmd
}

func newClusterDrainCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Take a node out of service until it restarts",
		Long: `Take the node at the first of --endpoints, and no other, out of service: /ready
answers 503 from then on, so that load balancers look elsewhere, and leadership
moves to another node. Its streams end and go on elsewhere; other requests that
still come are served, and the node goes on as a member. It may be done again.

A restart of the process undoes it, and nothing else does. To stop a node
cleanly needs no drain: SIGTERM drains first.`,
		Example: `  stateraft cluster drain --endpoints http://10.0.0.2:7474`,
		Args:    noArguments,
		RunE: r.run(func(ctx context.Context, s *session) error {
			if err := s.Cluster.Drain(ctx); err != nil {
				return err
			}
			return s.out.done("the node drains until it restarts")
		}),
	}
	r.bind(cmd)
	return cmd
}

// done confirms an action that has nothing to tell but that it happened.
func (o *output) done(text string) error {
	if o.form == formJSON {
		return o.json(map[string]bool{"ok": true})
	}
	return o.line(text)
}

func showStatus(o *output, s client.ClusterStatus) error {
	if o.form == formJSON {
		return o.json(s)
	}
	if o.shape() == formTable {
		if err := o.line(summary(o, s)); err != nil {
			return err
		}
	}
	return o.table(statusTable(s))
}

func summary(o *output, s client.ClusterStatus) string {
	leader := o.paint(green, s.Leader)
	if s.Leader == "" {
		leader = o.paint(red, "none")
	}
	return fmt.Sprintf("cluster %s  leader %s  term %d  revision %d  protocol %d\n",
		s.ClusterID, leader, s.Term, s.Revision, s.Version.Cluster)
}

func statusTable(s client.ClusterStatus) table {
	t := table{columns: []column{
		{title: "NODE"}, {title: "ROLE"}, {title: "HEALTH"}, {title: "API"},
		{title: "APPLIED", right: true}, {title: "LAG", right: true}, {title: "REVISION", right: true},
		{title: "CLOCK", right: true}, {title: "BINARY"}, {title: "ID"},
	}}
	for _, n := range s.Nodes {
		t.rows = append(t.rows, []cell{
			{text: n.Name}, role(n), health(n), {text: n.HTTP},
			{text: strconv.FormatUint(n.AppliedIndex, 10)}, {text: strconv.FormatUint(n.Lag, 10)},
			{text: strconv.FormatUint(n.Revision, 10)}, clock(n), {text: n.Binary}, {n.ID, dim},
		})
	}
	return t
}

func role(n client.ClusterNode) cell {
	switch {
	case n.Leader:
		return cell{"leader", green}
	case n.Role == "voter":
		return cell{"voter", ""}
	default:
		return cell{n.Role, yellow}
	}
}

func health(n client.ClusterNode) cell {
	if n.Healthy {
		return cell{"ok", green}
	}
	return cell{"failing", red}
}

// clock shows a difference from which on nodes warn about it in colour.
func clock(n client.ClusterNode) cell {
	c := cell{text: fmt.Sprintf("%+dms", n.ClockOffsetMs)}
	if n.ClockOffsetMs > 500 || n.ClockOffsetMs < -500 {
		c.colour = red
	}
	return c
}
