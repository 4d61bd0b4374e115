package cluster

import (
	"os"
	"testing"

	"github.com/stateraft/stateraft/internal/parallel"
)

// TestMain has more tests run at once than there are processors: those of
// clusters wait for elections and ticks most of the time.
func TestMain(m *testing.M) {
	parallel.AtLeast(4)
	os.Exit(m.Run())
}
