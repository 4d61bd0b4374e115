package client_test

import (
	"testing"

	"github.com/stateraft/stateraft/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
