#!/usr/bin/env bash
# Installs, builds, checks and tests the TypeScript client, as it is packed for npm. STATERAFT_BINARY: a server to test
# against, in place of the tree's own.
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PWD/node_modules/.bin:$PATH
packed=$PWD/.cache/packed

if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
  # Not npm ci: it wants every platform's optional packages in the lock, which a registry need not have.
  npm install --no-save --no-audit --no-fund --loglevel=error
fi
mkdir -p .cache
if [ -z "${STATERAFT_BINARY:-}" ]; then
  export STATERAFT_BINARY=$PWD/.cache/stateraft
  (cd ../.. && go build -o "$STATERAFT_BINARY" ./cmd/stateraft)
fi

echo "== build, lint"
rm -rf dist
npm run --silent build
npm run --silent lint

echo "== pack"
rm -rf "$packed" .cache/*.tgz
mkdir -p "$packed"
npm pack --silent --pack-destination .cache
tarball=$(ls "$PWD"/.cache/stateraft-*.tgz)
publint --strict "$tarball"
attw --profile esm-only "$tarball"

echo "== install the tarball, typecheck and test against it"
cp -r tests examples README.md vitest.config.ts "$packed"
echo '{"name": "packed", "private": true, "type": "module"}' >"$packed/package.json"
ln -s node_modules/stateraft/dist "$packed/dist"
(cd "$packed" && npm install --offline --no-audit --no-fund --loglevel=error "$tarball")
tsc -p "$packed/tests"
cd "$packed"
vitest run "$@"
