#!/usr/bin/env bash
# Generates the Go code of every .proto file anew. Needs protoc, which Debian
# has in protobuf-compiler; protoc-gen-go is built in the version of go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v protoc >/dev/null; then
	echo "protoc is missing; on Debian: apt-get install protobuf-compiler" >&2
	exit 1
fi
go build -o .cache/bin/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
protoc --plugin=.cache/bin/protoc-gen-go --go_out=. --go_opt=paths=source_relative \
	fsm/fsmpb/fsm.proto cluster/clusterpb/node.proto
