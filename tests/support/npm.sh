#!/bin/sh
# npm.sh SOURCES BUILD FOLDER COMMAND...: runs a command with the packages of FOLDER/package-lock.json; 77 means skipped.
# The packages are kept in BUILD/npm/FOLDER: copied there too are the FOLDER's modules, for packages are looked up beside
# them, and there the command runs. A FOLDER/.npmrc counts.
set -eu
. "$(dirname "$0")/skip.sh"
sources=$(cd "$1" && pwd) build=$(cd "$2" && pwd) name=$3
shift 3
need_node
command -v npm >/dev/null || skip "there is no npm"
tests=$sources/tests/$name folder=$build/npm/$name
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9
if ! cmp -s "$tests/package-lock.json" "$folder/installed"; then
  cp "$tests/package.json" "$tests/package-lock.json" "$folder"
  [ ! -e "$tests/.npmrc" ] || cp "$tests/.npmrc" "$folder"
  rm -rf "$folder/node_modules"
  (cd "$folder" && npm install --no-save --ignore-scripts --silent --no-audit --no-fund) || skip "npm cannot install what $name needs"
  cp "$tests/package-lock.json" "$folder/installed"
fi
for file in "$tests"/*.mjs; do
  [ ! -e "$file" ] || cmp -s "$file" "$folder/$(basename "$file")" || cp "$file" "$folder"
done
flock -u 9
exec 9>&-
cd "$folder"
export TESSERA_BIN="$build/bin" TESSERA_SOURCES="$sources"
exec "$@"
