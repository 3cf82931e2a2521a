#!/bin/sh
# dashboards.sh SOURCES BUILD: every query of the dashboards, by a Prometheus that scrapes a cluster. 77 means skipped.
set -eu
if ! command -v prometheus >/dev/null; then
  echo "SKIPPED: there is no prometheus (Debian package prometheus)" >&2
  exit 77
fi
TESSERA_SOURCES=$1 TESSERA_BIN=$2/bin exec sh "$1/tests/support/node.sh" "$1/tests/monitoring/dashboards.test.mjs"
