#!/usr/bin/env bash
# Runs every check and test, after installing what they need beside Go.
# Arguments go to "go test", as in: scripts/test.sh -short
set -euo pipefail
cd "$(dirname "$0")/.."

# install adds Debian packages.
install() {
	local sudo=()
	[[ $(id -u) == 0 ]] || sudo=(sudo)
	"${sudo[@]}" apt-get update -qq
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# beside starts a command beside those that follow, in a process group of its
# own, and keeps what it says: beside LOG COMMAND...
beside() {
	local log=$1
	shift
	set -m
	"$@" </dev/null >"$log" 2>&1 &
	set +m
}

# await waits for such a command, and shows what it said if it failed.
await() {
	local log=$1 pid=$2
	wait "$pid" || {
		cat "$log"
		exit 1
	}
}

# finish ends what still runs beside.
fuzzing=
python_sdk=
finish() {
	[[ -z $fuzzing ]] || kill -- "-$fuzzing" || true
	[[ -z $python_sdk ]] || kill -INT -- "-$python_sdk" || true # pytest ends its clusters
	wait
} 2>/dev/null
trap finish EXIT

# The race detector wants a C compiler, the published Python clients a venv.
command -v gcc >/dev/null || install gcc libc6-dev
# The network tests make namespaces, where the machine allows it.
if [[ $(uname) == Linux && $(id -u) == 0 ]]; then
	command -v ip >/dev/null && command -v nft >/dev/null || install iproute2 nftables
fi
python3 -c 'import ensurepip' 2>/dev/null || install python3 python3-venv
# A page in a browser watches keys.
command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || install chromium-headless-shell

# The tests find the interpreter that has the clients in STATERAFT_TEST_PYTHON.
python=.cache/python
if ! cmp -s scripts/python-requirements.txt "$python/requirements.txt"; then
	rm -rf "$python"
	python3 -m venv "$python"
	"$python/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/python-requirements.txt
	cp scripts/python-requirements.txt "$python/requirements.txt"
fi
export STATERAFT_TEST_PYTHON=$PWD/$python/bin/python

# And those of JavaScript in STATERAFT_TEST_NODE_MODULES.
command -v npm >/dev/null || install nodejs npm
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || {
	echo "the tests of the TypeScript client need Node.js 20 or later, and this is $(node --version)" >&2
	exit 1
}
node=.cache/node
if ! cmp -s scripts/node/package-lock.json "$node/installed.json"; then
	rm -rf "$node"
	mkdir -p "$node"
	cp scripts/node/*.json "$node"
	npm ci --prefix "$node" --silent --no-audit --no-fund
	cp scripts/node/package-lock.json "$node/installed.json"
fi
export STATERAFT_TEST_NODE_MODULES=$PWD/$node/node_modules

scripts/lint.sh

# Fuzzing takes what the others leave of the processors: most tests wait a lot.
idle=(nice -n 19)
if chrt -i 0 true 2>/dev/null; then
	idle=(chrt -i 0)
fi
beside .cache/fuzz.log "${idle[@]}" scripts/fuzz.sh 10000
fuzzing=$!

# Packages whose tests measure time, or hold others to one, have the machine to themselves.
alone=$(go list ./cluster ./cluster/logstore ./cmd/stateraft ./cmd/torture ./cmd/torture/internal/node)
others=$(go list ./... | grep -vxF "$alone")

# A race-built process would sleep a second at its end. lint.sh has vetted.
export GORACE=atexit_sleep_ms=0
tests=(go test -race -vet=off -timeout 20m)
"${tests[@]}" -p 2 "$@" $others
go list -race -test -export $alone >/dev/null # compiles them, which -p 1 would do one at a time
"${tests[@]}" -p 1 "$@" $alone

# The clients in other languages, against a server as users run it.
export STATERAFT_BINARY=$PWD/.cache/stateraft
CGO_ENABLED=0 go build -o "$STATERAFT_BINARY" ./cmd/stateraft
beside .cache/python-sdk.log env --default-signal=INT sdk/python/test.sh # a shell may have been told to ignore it
python_sdk=$!
sdk/typescript/test.sh
sdk/langgraph-js/test.sh
await .cache/python-sdk.log "$python_sdk"
await .cache/fuzz.log "$fuzzing"
