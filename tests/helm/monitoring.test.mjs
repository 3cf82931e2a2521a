// The chart brings copies of deploy/prometheus and deploy/grafana: Helm reads no files beside a chart.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { parse } from "yaml";
import { cases, chart, ofKind, render, sources } from "./charts.mjs";

// Name → content of a folder's files of one kind.
function files(folder, ending) {
  if (!existsSync(folder)) return {};
  const names = readdirSync(folder).filter((name) => ending.test(name)).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(folder, name), "utf8")]));
}

// Rule files and their tests share a folder; what has groups is rules.
function rules(folder) {
  return Object.fromEntries(Object.entries(files(folder, /\.ya?ml$/)).filter(([, text]) => parse(text)?.groups));
}

const deployed = {
  rules: rules(path.join(sources, "deploy/prometheus")),
  dashboards: files(path.join(sources, "deploy/grafana"), /\.json$/),
};

test("the copies are equal", () => {
  const copies = {
    rules: files(path.join(chart, "files/monitoring/rules"), /\.ya?ml$/),
    dashboards: files(path.join(chart, "files/monitoring/dashboards"), /\.json$/),
  };
  assert.deepEqual(copies, deployed, "run helm/copy_monitoring");
});

test("every rule and dashboard is rendered as it is", async () => {
  const all = await render(cases().find(({ name }) => name === "default-with-operators"));
  const [rule] = ofKind(all, "PrometheusRule");
  const groups = Object.values(deployed.rules).flatMap((text) => parse(text).groups);
  assert.deepEqual(rule.spec.groups.slice(1), groups);
  const names = rule.spec.groups.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const boards = ofKind(all, "ConfigMap").filter(({ metadata }) => metadata.labels.grafana_dashboard === "1");
  const rendered = Object.assign({}, ...boards.map(({ data }) => data));
  assert.deepEqual(Object.keys(rendered).sort(), Object.keys(deployed.dashboards).sort());
  for (const [name, text] of Object.entries(rendered)) {
    assert.deepEqual(JSON.parse(text), JSON.parse(deployed.dashboards[name]));
  }
});

test("runbooks are links where the tree can be read", async () => {
  const { args } = cases().find(({ name }) => name === "default-with-operators");
  const base = "https://git.example.com/tessera/blob/main";
  const all = await render({ name: "runbooks", args: [...args, "--set", `monitoring.runbookBaseUrl=${base}`] });
  const [rule] = ofKind(all, "PrometheusRule");
  const alerts = rule.spec.groups.flatMap(({ rules }) => rules).filter(({ alert }) => alert);
  assert.ok(alerts.length > 20, `${alerts.length} alerts`);
  for (const { alert, annotations } of alerts) {
    assert.equal(annotations.runbook_url, `${base}/deploy/runbook.md#${alert.toLowerCase()}`);
  }
});

test("what the burst shards' autoscaler looks at is recorded", async () => {
  const all = await render(cases().find(({ name }) => name === "default-with-operators"));
  const burst = ofKind(all, "HorizontalPodAutoscaler").find(({ metadata }) => metadata.name.endsWith("-burst"));
  const [busy, wait] = burst.spec.metrics.map(({ pods }) => pods.metric.name);
  const [rule] = ofKind(all, "PrometheusRule");
  assert.equal(rule.spec.groups[0].rules[0].record, wait);
  const adapter = parse(readFileSync(path.join(chart, "files/monitoring/prometheus-adapter.yaml"), "utf8"));
  assert.deepEqual(adapter.rules.custom.map(({ seriesQuery }) => seriesQuery.split("{")[0]), [busy, wait]);
  const code = ["shard_gauges.cc", "batching/row_batcher.cc"]
    .map((file) => readFileSync(path.join(sources, "services/expert_shard", file), "utf8")).join("");
  assert.ok(code.includes(`"${busy}"`), `${busy} is exported`);
  assert.ok(code.includes('"tessera_expert_shard_queue_seconds"'));
});

test("what is scraped is told apart from other releases", async () => {
  for (const args of [[], ["--set", "monitoring.serviceMonitor.enabled=false,monitoring.podMonitor.enabled=true"]]) {
    const { args: operators } = cases().find(({ name }) => name === "default-with-operators");
    const all = await render({ name: `monitors ${args}`, args: [...operators, ...args] });
    const endpoints = ofKind(all, "ServiceMonitor", "PodMonitor").flatMap(({ spec }) => spec.endpoints ?? spec.podMetricsEndpoints);
    assert.equal(endpoints.length, 2);
    const { metadata } = all.find(({ kind }) => kind === "PrometheusRule");
    for (const { relabelings } of endpoints) {
      assert.deepEqual(relabelings.find(({ targetLabel }) => targetLabel === "release"),
        { targetLabel: "release", replacement: `${metadata.namespace}/${metadata.name}` });
    }
  }
});
