#!/bin/sh
# run.sh SOURCES BUILD TEST.mjs: runs one test of the page; 77 means skipped.
# Unit tests need node alone; the others drive Chromium with the package of package-lock.json. All is copied into
# BUILD/npm/web, for modules are looked up beside the tests; screenshots are kept there in screenshots/.
set -eu
sources=$1 build=$2 test=$3
support=$sources/tests/support
. "$support/skip.sh"
folder=$build/npm/web
copy() {  # copy TO FILE...: those that differ
  to=$1
  shift
  for file in "$@"; do cmp -s "$file" "$to/$(basename "$file")" || cp "$file" "$to"; done
}
mkdir -p "$folder/page" "$folder/screenshots" "$folder/unit"
exec 9>"$folder/.lock"
flock 9
copy "$folder" "$sources/tests/clients/programs.mjs"
copy "$folder/unit" "$sources"/tests/web/unit/*.mjs
copy "$folder/page" "$sources"/services/gateway/web/*
[ -f "$folder/page/package.json" ] || echo '{"type":"module"}' >"$folder/page/package.json"
flock -u 9
exec 9>&-
case $test in
  unit/*)
    cd "$folder"
    exec sh "$support/node.sh" "$test"
    ;;
esac
[ -n "${TESSERA_CHROMIUM:-}" ] || TESSERA_CHROMIUM=$(command -v chromium || true)
[ -n "$TESSERA_CHROMIUM" ] || skip "there is no chromium: apt-get install chromium"
export TESSERA_CHROMIUM
exec sh "$support/npm.sh" "$sources" "$build" web node --test --test-reporter=spec "$test"
