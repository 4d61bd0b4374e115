# The commands people type. Each does its work in a script or in one line.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

.PHONY: run
run: build ## a three-node cluster on this machine, until Ctrl-C
	@bin/stateraft dev

.PHONY: build
build: ## bin/stateraft, static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/stateraft ./cmd/stateraft

.PHONY: test
test: ## everything: checks, tests, short fuzzing; installs what that needs
	scripts/test.sh

.PHONY: lint
lint: ## the checks alone
	scripts/lint.sh

.PHONY: bench
bench: ## load on a throw-away three-node cluster
	scripts/bench.sh

.PHONY: torture
torture: ## five minutes of faults against a cluster; as root, with those of network and disk
	go run ./cmd/torture --duration 5m

.PHONY: docs
docs: ## docs/cli.md anew, from what --help says
	go test ./cmd/stateraft -run '^TestReference$$' -reference

.PHONY: proto
proto: ## the Go code of every .proto file anew
	scripts/proto.sh

.PHONY: clean
clean: ## what was built, and the tests' tools; data stays
	rm -rf bin .cache

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8
