package fsm

// floorOf returns the namespace's floor: a key made anew there starts above it.
func (c *contents) floorOf(ns string) uint64 {
	if f, ok := c.floors.Get(&floor{ns: ns}); ok {
		return f.version
	}
	return 0
}

// raiseFloor notes that a delete or an expiry took version in ns at this
// cluster time.
func (c *contents) raiseFloor(ns string, version uint64, clock int64) {
	f := floor{ns: ns, version: version}
	if old, ok := c.floors.Get(&f); ok {
		f.version = max(version, old.version)
	}
	if c.isEmpty(ns) {
		f.emptied = clock
	}
	c.setFloor(&f)
}

// refill notes that ns has a key again.
func (c *contents) refill(ns string) {
	if f, ok := c.floors.Get(&floor{ns: ns}); ok && f.emptied != 0 {
		c.setFloor(&floor{ns: f.ns, version: f.version})
	}
}

func (c *contents) setFloor(f *floor) {
	if old, ok := c.floors.Set(f); ok {
		c.forgetFloor(old)
	}
	if f.emptied != 0 {
		c.emptied.Set(f)
	}
	c.sum += f.hash()
}

// forgetFloor takes f out of everything but the tree of floors.
func (c *contents) forgetFloor(f *floor) {
	if f.emptied != 0 {
		c.emptied.Delete(f)
	}
	c.sum -= f.hash()
}

// dropFloors forgets the floors of namespaces that have been empty for the
// retention time, at most n of them.
func (d *data) dropFloors(n int) {
	for ; n > 0; n-- {
		f, ok := d.emptied.Min()
		if !ok || d.clock-f.emptied < d.settings.FloorRetention {
			return
		}
		d.forgetFloor(f)
		d.floors.Delete(f)
	}
}

func (c *contents) isEmpty(ns string) bool { return c.firstIn(ns) == nil }

// firstIn returns the first key of ns, or nil.
func (c *contents) firstIn(ns string) (first *key) {
	c.keys.Ascend(&key{ns: ns}, func(k *key) bool {
		if k.ns == ns {
			first = k
		}
		return false
	})
	return first
}

// intern returns the copy of ns that its keys share already, if it has any, so
// that a namespace's name is in memory once and compares by its address.
func (c *contents) intern(ns string) string {
	if k := c.firstIn(ns); k != nil {
		return k.ns
	}
	return ns
}
