// Every config file and command line that the chart renders is understood by the program it is for.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { cases, printConfig, program, render, workloads } from "./charts.mjs";

const folder = mkdtempSync(path.join(tmpdir(), "tessera-helm-"));
test.after(() => rmSync(folder, { recursive: true }));

const variables = { POD_NAME: "pod-3", POD_IP: "10.1.2.3", POD_INDEX: "3" };

// What a pod of the workload is told in the end.
function understood(all, { name, spec }) {
  const file = path.join(folder, `${name}.json`);
  writeFileSync(file, all.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === name).data["config.json"]);
  const [container] = spec.containers;
  const args = container.args.map((text) => text
    .replaceAll(/\$\((\w+)\)/g, (_, variable) => variables[variable])
    .replace("/etc/tessera/config/config.json", file));
  return printConfig(path.basename(container.command[0]), args);
}

for (const one of cases()) {
  test(one.name, async () => {
    const all = await render(one);
    for (const pod of workloads(all)) {
      const config = understood(all, pod);
      assert.ok(config.log.json);
      for (const [field, port] of [["http_listen", "http"], ["grpc_listen", "grpc"], ["admin_listen", "admin"]]) {
        if (config[field] === undefined) continue;
        const declared = pod.spec.containers[0].ports.find(({ name }) => name === port);
        assert.ok(config[field].endsWith(`:${declared.containerPort}`), `${pod.name}: ${field} is ${config[field]}`);
      }
      if (config.data_listen?.startsWith("ucx:")) {
        const declared = pod.spec.containers[0].ports.find(({ name }) => name === "data");
        assert.ok(config.data_listen.endsWith(`:${declared.containerPort}`));
        assert.match(config.data_advertise, /^ucx:.*:8021$/);
      }
    }
  });
}

test("what values say arrives", async () => {
  const all = await render(cases().find(({ name }) => name === "trinity-large-gpu"));
  const pods = Object.fromEntries(workloads(all).map((pod) => [pod.labels["app.kubernetes.io/component"], pod]));
  const router = understood(all, pods.router);
  assert.equal(String(router.kv_bytes), "68719476736", "a large number stays what it is");
  assert.equal(router.membership.copies_wanted, 2);
  assert.equal(router.ucx.transports, "rc,tcp,self");
  assert.equal(router.leader, "rel-tessera-router-0.rel-tessera-router.llm.svc.cluster.local:8010");
  assert.equal(router.grpc_advertise, "pod-3.rel-tessera-router.llm.svc.cluster.local:8010");
  const expert = understood(all, pods.expert);
  assert.equal(expert.shard_id, 3);
  assert.equal(expert.shard_count, 16);
  assert.equal(expert.credits_max, 8);
  assert.equal(expert.draw_shard_id, false);
  const burst = understood(all, pods["expert-burst"]);
  assert.equal(burst.draw_shard_id, true);
  assert.equal(burst.credits_max, 8, "as the base shards'");
  const gateway = understood(all, pods.gateway);
  assert.deepEqual(gateway.router_addresses, [0, 1].map(
    (i) => `rel-tessera-router-${i}.rel-tessera-router.llm.svc.cluster.local:8010`));
});

test("traces go where values say, and nobody else is let out", async () => {
  const all = await render(cases().find(({ name }) => name === "hardened"));
  for (const pod of workloads(all)) {
    const config = understood(all, pod);
    assert.equal(config.otlp_endpoint, "http://collector.tracing.svc:4318", pod.name);
    if (pod.name.endsWith("-gateway")) assert.equal(config.otlp_sample_ratio, 0.01);
  }
  const egress = (objects) => objects.filter(({ kind }) => kind === "NetworkPolicy").flatMap(({ spec }) => spec.egress ?? [])
    .filter(({ ports }) => ports.some(({ port }) => port === 4318));
  assert.deepEqual(egress(all), [{
    to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "tracing" } } }],
    ports: [{ port: 4318, protocol: "TCP" }],
  }]);
  const plain = await render(cases().find(({ name }) => name === "default"));
  assert.deepEqual(egress(plain), []);
  assert.ok(workloads(plain).every((pod) => understood(plain, pod).otlp_endpoint === ""));
});

test("a field that no program knows would be noticed", () => {
  const file = path.join(folder, "wrong.json");
  writeFileSync(file, '{"modle": "x"}');
  assert.throws(() => execFileSync(program("tessera-router"), [`--config=${file}`, "--print_config"], { stdio: "pipe" }), /modle/);
});
