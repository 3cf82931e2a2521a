// values.schema.json is what make_schema.mjs prints, knows every value of values.yaml, and refuses what is wrong.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { parse } from "yaml";
import { chart, helms, sources, template } from "./charts.mjs";
import { readMessages, valuesSchema } from "./make_schema.mjs";

const schema = valuesSchema(sources);

test("the file is up to date", () => {
  const file = JSON.parse(readFileSync(path.join(chart, "values.schema.json"), "utf8"));
  assert.deepEqual(file, schema, "run node tests/helm/make_schema.mjs > helm/tessera/values.schema.json");
});

test("the config messages are read whole", () => {
  const messages = readMessages(sources);
  for (const [message, field] of [["Gateway", "drain_seconds"], ["Router", "ucx"], ["ExpertShard", "ucx"], ["Http", "key_file"]]) {
    assert.ok(messages[message].some(([name]) => name === field), `${message}.${field}`);
  }
});

// Paths of all objects in the schema that take unknown members, and of all members.
function open(node, at = "", found = []) {
  if (node.type === "object" && node.additionalProperties === undefined) found.push(at);
  for (const [name, member] of Object.entries(node.properties ?? {})) open(member, `${at}.${name}`, found);
  return found;
}

test("it is closed, but for parts of pods that Kubernetes itself describes", () => {
  const allowed = /^\.(global|model\.storage\.volume|(gateway|router|expertShard|burstShard)\.affinity)$/;
  assert.deepEqual(open(schema).filter((at) => !allowed.test(at)), []);
});

test("every value has a default, and every default is in the schema", () => {
  const defaults = parse(readFileSync(path.join(chart, "values.yaml"), "utf8"));
  const compare = (node, value, at) => {
    const names = Object.keys(node.properties ?? {}).filter((name) => !(at === "" && name === "global"));
    // Maps are empty or have keys of the user's; config has the programs' own defaults.
    if (names.length === 0 || at.endsWith(".config") || node.$ref) return;
    if (at.endsWith(".resources")) return;
    assert.deepEqual(Object.keys(value).sort(), names.sort(), at);
    for (const name of names) compare(node.properties[name], value[name], `${at}.${name}`);
  };
  compare(schema, defaults, "");
});

const wrong = [
  ["replica=2", /replica/],
  ["gateway.replicas=0", /replicas/],
  ["gateway.replicas=two", /replicas/],
  ["gateway.config.drain_seconds=3", /drain_seconds/],
  ["gateway.config.http.threats=3", /threats/],
  ["router.config.membership.transport=grpc", /transport/],
  ["router.config.sequences_max=-1", /sequences_max/],
  ["router.config.strict=perhaps", /strict/],
  ["router.config.kv_bytes=1.5", /kv_bytes/],
  ["expertShard.config.shard_id=3", /shard_id/],
  ["expertShard.config.compute.expert_type=q8", /expert_type/],
  ["burstShard.config.zones=a", /zones/],
  ["burstShard.autoscaling.type=vpa", /type/],
  ["burstShard.autoscaling.busyRatio=1.5", /busyRatio/],
  ["drainSeconds=0", /drainSeconds/],
  ["ipFamily=IPv5", /ipFamily/],
  ["image.digest=latest", /digest/],
  ["image.pullPolicy=Sometimes", /pullPolicy/],
  ["clusterSecret.value=short", /clusterSecret/],
  ["model.folder=../../etc", /folder/],
  ["model.storage.type=s3", /type/],
  ["model.storage.type=volume", /volume/],
  ["model.storage.type=emptyDir", /fetch/],
  ["monitoring.runbookBaseUrl=deploy", /runbookBaseUrl/],
  ["model.sha256sums=abc", /sha256sums/],
  ["model.fetch.command={sh,-c,true}", /sha256sums|storage/],
  ["gateway.service.httpPort=70000", /httpPort/],
  ["gateway.ingress.enabled=true", /hosts/],
  ["gateway.httpRoute.enabled=true", /parentRefs/],
  ["gateway.pdb.maxUnavailable=0", /maxUnavailable/],
  ["gateway.resources.limit.cpu=1", /limit/],
  ["gateway.resources.limits.memory=lots", /memory/],
  ["networkPolicy.dnsTo=null", /dnsTo|networkPolicy/, "networkPolicy.dnsTo=[]"],
  ["monitoring.serviceMonitor.enabled=maybe", /serviceMonitor/],
  ["monitoring.serviceMonitor.interval=often", /interval/],
  ["transport.kind=pigeon", /kind/],
  ["router.lease.create=true", /lease/],
  ["router.config.expert_metrics=false", /expert_metrics/],
  ["tracing.endpoint=https://collector:4318", /endpoint/],
  ["tracing.endpoint=http://collector", /endpoint/],
  ["tracing.sampleRatio=2", /sampleRatio/],
  ["monitoring.expertMetrics.interval=seldom", /interval/],
  // Not of one value: said by the templates.
  ["expertShard.copies=3", /copies is 3/],
  ["tls.existingSecret=x", /burst shards have no name/],
  ["burstShard.autoscaling.minReplicas=0", /keda/],
  ["burstShard.autoscaling.minReplicas=9", /above maxReplicas/],
  ["gateway.autoscaling.minReplicas=9", /above maxReplicas/],
  ["monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true", /scraped twice/],
  ["rdma.enabled=true,transport.kind=grpc", /transport.kind=ucx/],
];

for (const version of helms) {
  test(`${version}: wrong values are refused, and named`, async () => {
    for (const [assignment, message, json] of wrong) {
      const set = json ? ["--set-json", json] : ["--set", assignment];
      const { status, stderr } = await template(version, set);
      assert.notEqual(status, 0, assignment);
      assert.match(stderr, message, assignment);
    }
  });
}
