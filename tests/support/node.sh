#!/bin/sh
# node.sh FILE...: runs tests that need node's own modules alone; 77 means skipped.
set -eu
. "$(dirname "$0")/skip.sh"
need_node
exec node --test --test-reporter=spec "$@"
