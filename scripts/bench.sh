#!/usr/bin/env bash
# Runs "stateraft bench" against a throw-away three-node cluster on ports of its
# own. Arguments go to bench.
set -euo pipefail
cd "$(dirname "$0")/.."

make --no-print-directory build
port=27474
data=$(mktemp -d)
bin/stateraft dev --nodes 3 --port "$port" --data-dir "$data" >"$data/dev.log" &
dev=$!
stop() {
	kill "$dev" 2>/dev/null || true
	wait "$dev" || true
	rm -rf "$data"
}
trap stop EXIT

until grep -q Ctrl-C "$data/dev.log"; do
	kill -0 "$dev" # ends the script if the cluster did not come up
	sleep 0.1
done
bin/stateraft bench --endpoints \
	"http://127.0.0.1:$port,http://127.0.0.1:$((port + 1)),http://127.0.0.1:$((port + 2))" "$@"
