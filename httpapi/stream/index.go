package stream

import "github.com/stateraft/stateraft/fsm"

// A group is the subscriptions of one shard to one topic. Beside them it holds
// what the batch being delivered has for them.
type group struct {
	topic  Topic
	subs   []*Subscription
	events []*event
}

// add puts s into the group.
func (g *group) add(s *Subscription) {
	s.group, s.at = g, uint32(len(g.subs))
	g.subs = append(g.subs, s)
}

// remove takes s out; the last one takes its place.
func (g *group) remove(s *Subscription) {
	last := len(g.subs) - 1
	g.subs[s.at] = g.subs[last]
	g.subs[s.at].at = s.at
	g.subs[last] = nil
	g.subs = g.subs[:last]
}

// An index finds the groups that a change concerns, at a cost that does not
// depend on the number of topics.
type index struct {
	groups  map[Topic]*group
	lengths map[string]map[int]int // namespace → length of a prefix → topics
}

func newIndex() index {
	return index{groups: map[Topic]*group{}, lengths: map[string]map[int]int{}}
}

// add puts s into the group of its topic, which is its own if there is none.
func (x *index) add(s *Subscription) {
	g, ok := x.groups[s.group.topic]
	if !ok {
		g = s.group
		x.groups[g.topic] = g
		x.count(g.topic, 1)
	}
	g.add(s)
}

func (x *index) remove(s *Subscription) {
	g := s.group
	g.remove(s)
	if len(g.subs) == 0 {
		delete(x.groups, g.topic)
		x.count(g.topic, -1)
	}
}

// count keeps lengths up to date.
func (x *index) count(t Topic, by int) {
	if !t.Prefix {
		return
	}
	lengths := x.lengths[t.Namespace]
	if lengths == nil {
		lengths = map[int]int{}
		x.lengths[t.Namespace] = lengths
	}
	if lengths[len(t.Name)] += by; lengths[len(t.Name)] == 0 {
		delete(lengths, len(t.Name))
	}
	if len(lengths) == 0 {
		delete(x.lengths, t.Namespace)
	}
}

// each calls f for every group whose topic covers c.
func (x *index) each(c *fsm.Change, f func(*group)) {
	if g, ok := x.groups[Topic{Namespace: c.Namespace, Name: c.Key}]; ok {
		f(g)
	}
	for n := range x.lengths[c.Namespace] {
		if n > len(c.Key) {
			continue
		}
		if g, ok := x.groups[Topic{Namespace: c.Namespace, Name: c.Key[:n], Prefix: true}]; ok {
			f(g)
		}
	}
}
