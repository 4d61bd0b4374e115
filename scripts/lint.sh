#!/usr/bin/env bash
# Checks the Go code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(gofmt -l .)
if [[ -n $unformatted ]]; then
	printf 'not in the form of gofmt:\n%s\n' "$unformatted" >&2
	exit 1
fi
go mod tidy -diff
go vet ./...
go tool staticcheck ./...
