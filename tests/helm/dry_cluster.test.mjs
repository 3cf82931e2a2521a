// The rendered chart, run without a cluster: pods are processes of this machine (kubelet.mjs) that become ready by the
// rendered probes, answer, and drain within the rendered grace while requests run.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import test from "node:test";
import { program, render } from "./charts.mjs";
import { DryCluster } from "./kubelet.mjs";

// Small numbers for a small machine; everything else is as rendered by default.
const small = ["--set", "drainSeconds=6", "--set", "model.name=tiny,model.folder=tiny",
  "--set", "router.config.compute.threads=1,expertShard.config.compute.threads=1",
  "--set", "router.config.kv_bytes=33554432", "--set", "clusterSecret.value=a-secret-of-the-dry-cluster"];

async function startCluster(t, name, args) {
  const cluster = new DryCluster(await render({ name: `dry ${name}`, args: [...small, ...args] }));
  t.after(() => cluster.stop());
  execFileSync(program("tests_write_tiny_model"), [path.join(cluster.modelsFolder, "tiny"), "512"]);
  await cluster.start();
  return cluster;
}

// One streamed completion; the number of tokens, or an error.
async function stream(cluster, { gateways = cluster.of("gateway"), tokens = 32, seed = 1 } = {}) {
  // As a Service does: a gateway that is ready and was not told to end.
  const gateway = gateways.find(({ ready, leaving }) => ready && !leaving);
  const reply = await fetch(`http://127.0.0.1:${gateway.port("http")}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "tiny", prompt: "abc", max_tokens: tokens, seed, temperature: 1, stream: true, ignore_eos: true,
      stream_options: { include_usage: true },
    }),
  });
  const text = await reply.text();
  assert.equal(reply.status, 200, text);
  assert.match(text, /data: \[DONE\]\s*$/, text.slice(-400));
  const events = text.split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)));
  assert.deepEqual(events.filter(({ error }) => error), []);
  return events.at(-1).usage.completion_tokens;
}

// Streams, one after another on each of `lanes`, until told to stop.
//   open   those under way: {lane, ended: a promise of the number of tokens}
//   counts how many each lane has brought to their end
function traffic(cluster, lanes) {
  let going = true;
  const open = new Set();
  const counts = new Array(lanes).fill(0);
  const results = Promise.allSettled(counts.map(async (_, lane) => {
    while (going) {
      const one = { lane, ended: stream(cluster, { seed: lane }) };
      open.add(one);
      assert.equal(await one.ended, 32);
      open.delete(one);
      ++counts[lane];
    }
  }));
  return {
    open,
    counts,
    async stop() {
      going = false;
      const settled = await results;
      assert.deepEqual(settled.filter(({ status }) => status === "rejected").map(({ reason }) => String(reason)), []);
    },
  };
}

function checkDrained(pod, { code, signal, seconds }) {
  assert.equal(signal, null, `${pod.name} was killed after its grace of ${pod.grace} s:\n${pod.log}`);
  assert.equal(code, 0, `${pod.name}:\n${pod.log}`);
  assert.ok(seconds < pod.grace);
  const lines = pod.log.trim().split("\n");
  for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), `${pod.name} logs JSON: ${line}`);
  assert.match(lines.at(-1), /has stopped/);
}

async function metric(pod, name) {
  const text = await (await fetch(`http://127.0.0.1:${pod.port("admin")}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}{`));
  return line && Number(line.split(" ").at(-1));
}

// What minReadySeconds is for: the others have found a pod that came back. Returns sooner if they have.
async function settle(cluster) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const routers = cluster.of("router").length;
    const up = await Promise.all(cluster.of("gateway").map((pod) => metric(pod, "tessera_gateway_routers_up")));
    const linked = await Promise.all(cluster.of("router").map((pod) => metric(pod, "tessera_router_shards_linked")));
    const shards = cluster.of("expert").length + cluster.of("expert-burst").length;
    if (up.every((count) => count === routers) && linked.every((count) => count === shards)) return;
    assert.ok(Date.now() < deadline, `gateways see ${up} of ${routers} routers, routers ${linked} of ${shards} shards`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("the default chart starts, answers, and every pod can be replaced under traffic", async (t) => {
  const cluster = await startCluster(t, "default", []);
  assert.deepEqual(cluster.pods.map(({ component }) => component).sort(),
    ["expert", "expert", "expert-burst", "gateway", "gateway", "router", "router"]);
  assert.equal(await stream(cluster), 32);
  const models = await (await fetch(`http://127.0.0.1:${cluster.of("gateway")[0].port("http")}/v1/models`)).json();
  assert.deepEqual(models.data.map(({ id }) => id), ["tiny"]);

  const ids = await Promise.all(["expert", "expert-burst"].flatMap((one) => cluster.of(one)).map(async (pod) => {
    const text = await (await fetch(`http://127.0.0.1:${pod.port("admin")}/metrics`)).text();
    return Number(/tessera_expert_shard_slots\{shard="(\d+)"\}/.exec(text)[1]);
  }));
  assert.deepEqual(ids.slice(0, 2), [0, 1], "a base shard's id is its index");
  assert.ok(ids[2] >= 2, "a burst shard's comes after them");

  await settle(cluster);
  const lanes = 4;
  const running = traffic(cluster, lanes);
  for (const pod of [...cluster.pods]) {
    // Under way when it is told to end: every lane has one, and each ends with all its tokens, whoever goes.
    const under = [...running.open];
    assert.equal(under.length, lanes, "every lane streams");
    const end = await pod.terminate();
    checkDrained(pod, end);
    assert.deepEqual(await Promise.all(under.map(({ ended }) => ended)), new Array(lanes).fill(32));
    const homeless = await metric(cluster.of("router").find((one) => one.alive()), "tessera_router_homeless_layers_total");
    t.diagnostic(`${pod.name} drained in ${end.seconds.toFixed(2)} s; ${homeless} layers have waited for experts so far`);
    await cluster.replace(pod);
    await settle(cluster);
  }
  await running.stop();
  // A pod is replaced when what was under way has ended, so no lane can have waited for the end of them all.
  for (const [lane, count] of running.counts.entries()) assert.ok(count >= cluster.pods.length, `lane ${lane}: ${count} streams`);
  t.diagnostic(`${running.counts.reduce((a, b) => a + b)} streams while ${cluster.pods.length} pods were replaced, none failed`);
  assert.equal(await metric(cluster.of("router")[0], "tessera_router_experts_missing"), 0);
});

test("each program drains unready but alive for as long as it may, and a second SIGTERM ends it now", async (t) => {
  // The only shard can leave its experts to nobody, so its drain lasts; then the request waits for them, and with it the
  // router's drain, and when that is gone the gateway's.
  const cluster = await startCluster(t, "second", ["--set", "drainSeconds=600",
    "--set", "burstShard.enabled=false,transport.kind=grpc,expertShard.count=1,router.replicas=1",
    "--set", "gateway.autoscaling.enabled=false,gateway.replicas=1,gateway.config.queue.resume_timeout=600",
    "--set", "router.config.experts_wait_max_seconds=600"]);
  const [gateway] = cluster.of("gateway");
  const reply = await fetch(`http://127.0.0.1:${gateway.port("http")}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", prompt: "abc", max_tokens: 500, n: 128, stream: true, ignore_eos: true }),
  });
  const body = reply.body.getReader();
  assert.equal((await body.read()).done, false);
  for (const component of ["expert", "router", "gateway"]) {
    const [pod] = cluster.of(component);
    pod.process.kill("SIGTERM");
    while (pod.alive() && (await pod.probe(pod.container.readinessProbe)) === true) {
      // Asked again at once.
    }
    assert.ok(pod.alive(), `${pod.name} has no reason to end yet:\n${pod.log}`);
    assert.match(await pod.probe(pod.container.readinessProbe), /^503 /, `${pod.name} says why it is not ready:\n${pod.log}`);
    assert.equal(await pod.probe(pod.container.livenessProbe), true, `${pod.name} lives`);
    const begin = Date.now();
    pod.process.kill("SIGTERM");
    const { code, signal } = await pod.exited;
    assert.deepEqual({ code, signal }, { code: 1, signal: null }, pod.log);
    assert.ok(Date.now() - begin < 60_000, "now, not when its ten minutes are over");
    assert.match(pod.log, /ends on a second signal/);
  }
  await body.cancel().catch(() => {});
});
