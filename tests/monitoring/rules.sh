#!/bin/sh
# rules.sh SOURCES: the Prometheus rules do what their unit tests say, all are tried, and each alert has a section in the runbook.
# 77 means skipped.
set -eu
sources=$1
folder=$sources/deploy/prometheus
for anchor in $(sed -n 's/.*runbook_url: deploy\/runbook\.md#//p' "$folder/alerts.rules.yml"); do
  grep '^##' "$sources/deploy/runbook.md" | sed 's/^#* *//' | tr 'A-Z ' 'a-z-' | grep -qx "$anchor" || {
    echo "deploy/runbook.md has no section '$anchor'" >&2
    exit 1
  }
done
tried=$sources/tests/monitoring/rules_test.yml
for name in $(sed -n 's/^ *- \(alert\|record\): //p' "$folder"/*.rules.yml); do
  grep -Eq "(alertname|expr): $name\$" "$tried" || {
    echo "$name is not tried in tests/monitoring/rules_test.yml" >&2
    exit 1
  }
done
if ! command -v promtool >/dev/null; then
  echo "SKIPPED: there is no promtool (Debian package prometheus)" >&2
  exit 77
fi
promtool check rules "$folder"/*.rules.yml
promtool check config "$folder/prometheus.yml"
promtool test rules "$sources/tests/monitoring/rules_test.yml"
