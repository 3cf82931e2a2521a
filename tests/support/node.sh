#!/bin/sh
# node.sh FILE...: runs tests that need node's own modules alone; 77 means skipped.
set -eu
if ! command -v node >/dev/null; then
  echo "SKIPPED: there is no node" >&2
  exit 77
fi
exec node --test --test-reporter=spec "$@"
