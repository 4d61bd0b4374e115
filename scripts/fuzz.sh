#!/usr/bin/env bash
# Runs every fuzz test for a while: scripts/fuzz.sh [TIME], 10s each by default.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do
	grep -oE '^func Fuzz\w+' "$file" | while read -r _ name; do
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 1x "./$(dirname "$file")" </dev/null
	done
done
