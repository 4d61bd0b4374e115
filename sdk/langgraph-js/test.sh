#!/usr/bin/env bash
# Installs, builds, checks and tests the LangGraph.js checkpointer. Run ../typescript/test.sh before: it builds the client and
# the server. STATERAFT_BINARY: a server to test against, in place of the tree's own.
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PWD/node_modules/.bin:$PWD/../typescript/node_modules/.bin:$PATH

if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
  # Not npm ci: it wants every platform's optional packages in the lock, which a registry need not have.
  npm install --no-save --no-audit --no-fund --loglevel=error
fi
echo "== build, lint, pack"
rm -rf dist .cache
mkdir -p .cache
npm run --silent build
npm run --silent lint
tsc -p tests
npm pack --silent --pack-destination .cache
publint --strict .cache/*.tgz
attw --profile esm-only .cache/*.tgz
echo "== test"
vitest run "$@"
