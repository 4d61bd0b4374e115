package fsm

// floorOf returns the namespace's floor: a key made anew there starts above it.
func (d *data) floorOf(ns string) uint64 {
	if f, ok := d.floors.Get(&floor{ns: ns}); ok {
		return f.version
	}
	return 0
}

// raiseFloor notes that a delete or an expiry took version in ns.
func (d *data) raiseFloor(ns string, version uint64) {
	f := floor{ns: ns, version: version}
	if old, ok := d.floors.Get(&f); ok {
		f.version = max(version, old.version)
	}
	if d.isEmpty(ns) {
		f.emptied = d.clock
	}
	d.setFloor(&f)
}

// refill notes that ns has a key again.
func (d *data) refill(ns string) {
	if f, ok := d.floors.Get(&floor{ns: ns}); ok && f.emptied != 0 {
		d.setFloor(&floor{ns: f.ns, version: f.version})
	}
}

func (d *data) setFloor(f *floor) {
	if old, ok := d.floors.Set(f); ok {
		d.forgetFloor(old)
	}
	if f.emptied != 0 {
		d.emptied.Set(f)
	}
	d.sum += f.hash()
}

// forgetFloor takes f out of everything but the tree of floors.
func (d *data) forgetFloor(f *floor) {
	if f.emptied != 0 {
		d.emptied.Delete(f)
	}
	d.sum -= f.hash()
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

func (d *data) isEmpty(ns string) bool { return d.firstIn(ns) == nil }

// firstIn returns the first key of ns, or nil.
func (d *data) firstIn(ns string) (first *key) {
	d.keys.Ascend(&key{ns: ns}, func(k *key) bool {
		if k.ns == ns {
			first = k
		}
		return false
	})
	return first
}

// intern returns the copy of ns that its keys share already, if it has any, so
// that a namespace's name is in memory once and compares by its address.
func (d *data) intern(ns string) string {
	if k := d.firstIn(ns); k != nil {
		return k.ns
	}
	return ns
}
