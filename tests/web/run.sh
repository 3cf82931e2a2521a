#!/bin/sh
# run.sh SOURCES BUILD TEST.mjs: runs one test of the page; 77 means skipped.
# Unit tests need node alone; the others drive Chromium with the package of package-lock.json. All is copied into
# BUILD/npm/web, for modules are looked up beside the tests; screenshots are kept there in screenshots/.
set -eu
sources=$1 build=$2 test=$3
skip() {
  echo "SKIPPED: $1" >&2
  exit 77
}
command -v node >/dev/null || skip "there is no node"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || skip "node is $(node --version), these tests need 20 or later"
folder=$build/npm/web
mkdir -p "$folder/page" "$folder/screenshots"
exec 9>"$folder/.lock"
flock 9
case $test in
  unit/*) ;;
  *)
    [ -n "${TESSERA_CHROMIUM:-}" ] || TESSERA_CHROMIUM=$(command -v chromium || true)
    [ -n "$TESSERA_CHROMIUM" ] || skip "there is no chromium: apt-get install chromium"
    command -v npm >/dev/null || skip "there is no npm"
    if ! cmp -s "$sources/tests/web/package-lock.json" "$folder/installed"; then
      cp "$sources/tests/web/package.json" "$sources/tests/web/package-lock.json" "$folder"
      (cd "$folder" && npm install --no-save --ignore-scripts --silent --no-audit --no-fund) || skip "npm cannot install playwright-core"
      cp "$sources/tests/web/package-lock.json" "$folder/installed"
    fi
    ;;
esac
mkdir -p "$folder/unit"
for file in "$sources"/tests/clients/programs.mjs "$sources"/tests/web/*.mjs; do
  cmp -s "$file" "$folder/$(basename "$file")" || cp "$file" "$folder"
done
for file in "$sources"/tests/web/unit/*.mjs; do cmp -s "$file" "$folder/unit/$(basename "$file")" || cp "$file" "$folder/unit"; done
for file in "$sources"/services/gateway/web/*; do cmp -s "$file" "$folder/page/$(basename "$file")" || cp "$file" "$folder/page"; done
[ -f "$folder/page/package.json" ] || echo '{"type":"module"}' >"$folder/page/package.json"
flock -u 9
exec 9>&-
cd "$folder"
export TESSERA_CHROMIUM="${TESSERA_CHROMIUM:-}"
TESSERA_BIN=$build/bin TESSERA_SOURCES=$sources exec node --test --test-reporter=spec "$test"
