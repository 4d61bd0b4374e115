package faults

import (
	"context"
	"time"
)

// forgetTimeout is how long is spent on what a fault leaves behind.
const forgetTimeout = 3 * time.Second

// forget deletes keys that a fault has made, so that those that come later do not
// find them in every snapshot. What cannot be deleted stays.
func (s *Scene) forget(ctx context.Context, workflow string, keys ...string) {
	s.waitFor(ctx, forgetTimeout, func(ctx context.Context) error { return s.any().DeleteAll(ctx, workflow, keys) })
}
