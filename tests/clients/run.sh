#!/bin/sh
# run.sh SOURCES BUILD TEST.mjs: runs one test with the packages of package-lock.json; 77 means skipped.
# The packages are kept in BUILD/npm/clients: copied there too are the tests, for modules are looked up beside them.
set -eu
sources=$1 build=$2 test=$3
skip() {
  echo "SKIPPED: $1" >&2
  exit 77
}
command -v node >/dev/null || skip "there is no node"
command -v npm >/dev/null || skip "there is no npm"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || skip "node is $(node --version), the clients need 20 or later"
folder=$build/npm/clients
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9
if ! cmp -s "$sources/tests/clients/package-lock.json" "$folder/installed"; then
  cp "$sources/tests/clients/package.json" "$sources/tests/clients/package-lock.json" "$folder"
  (cd "$folder" && npm install --no-save --ignore-scripts --silent --no-audit --no-fund) || skip "npm cannot install the clients"
  cp "$sources/tests/clients/package-lock.json" "$folder/installed"
fi
for file in "$sources"/tests/clients/*.mjs; do
  cmp -s "$file" "$folder/$(basename "$file")" || cp "$file" "$folder"
done
flock -u 9
exec 9>&-
cd "$folder"
TESSERA_BIN=$build/bin TESSERA_SOURCES=$sources exec node --test --test-reporter=spec "$test"
