#!/bin/sh
# check.sh SAMPLES_PROGRAM OPENAPI.json FOLDER: validates what the program prints; 77 means skipped.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
skip() {
  echo "SKIPPED: $1" >&2
  exit 77
}
[ -f "$2" ] || skip "there is no $2"
command -v node >/dev/null || skip "there is no node"
command -v npm >/dev/null || skip "there is no npm"
mkdir -p "$3/npm"
cd "$3/npm"
[ -d node_modules/ajv ] || npm install --silent --no-audit --no-fund ajv@8.20.0 || skip "npm cannot install ajv"
"$1" | node "$here/validate.mjs" "$2"
