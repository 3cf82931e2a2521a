// Both majors of Helm accept the chart with every values file, and render the same every time.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import { cases, chart, helm, helms, objects, release, render, run, template, workloads } from "./charts.mjs";

test("there are a Helm 3 and a Helm 4, and values files enough", () => {
  const majors = helms.map((version) => execFileSync(helm(version), ["version", "--short"], { encoding: "utf8" }).slice(0, 2));
  assert.deepEqual(majors, ["v3", "v4"]);
  assert.ok(cases().length >= 8 + 2, cases().map(({ name }) => name).join(" "));
});

for (const { name, args } of cases()) {
  test(`${name}: lint --strict and template`, async () => {
    const texts = await Promise.all(
      helms.map(async (version) => {
        const values = args.filter((_, i) => args[i - 1] === "--values").flatMap((file) => ["--values", file]);
        const lint = await run(version, ["lint", "--strict", chart, ...values]);
        assert.equal(lint.status, 0, lint.stdout + lint.stderr);
        const { status, stdout, stderr } = await template(version, args);
        assert.equal(status, 0, stderr);
        assert.equal(stderr, "", "a warning is a fault");
        return stdout;
      }),
    );
    const byName = (a, b) => `${a.kind} ${a.metadata.name}`.localeCompare(`${b.kind} ${b.metadata.name}`);
    const [three, four] = texts.map((text) => objects(text).sort(byName));
    assert.deepEqual(three, four, "both render the same");
    const again = await template("v35", args);
    assert.equal(again.stdout, texts[1], "nothing is drawn at random, nothing depends on the time");
  });
}

test("what has a default is rendered by default", async () => {
  const all = await render(cases().find(({ name }) => name === "default-with-operators"));
  const kinds = {};
  for (const { kind } of all) kinds[kind] = (kinds[kind] ?? 0) + 1;
  const { ConfigMap, ...others } = kinds;
  assert.ok(ConfigMap >= 4);
  assert.deepEqual(others, {
    Deployment: 2, StatefulSet: 2, Service: 5, ServiceAccount: 3, HorizontalPodAutoscaler: 2, PodDisruptionBudget: 3,
    NetworkPolicy: 5, ServiceMonitor: 2, PrometheusRule: 1,
  });
});

// Who installs an example as it stands finds a checkpoint, brings one, or has said that it is there.
test("no example makes a claim that nobody fills", async () => {
  for (const { name, args } of cases()) {
    const all = await render({ name, args });
    const made = all.filter(({ kind }) => kind === "PersistentVolumeClaim");
    const fills = workloads(all).every(({ spec }) => spec.initContainers?.[0].args.length > 2);
    assert.ok(made.length === 0 || fills, name);
  }
});

test("every grace period follows from drainSeconds", async () => {
  for (const seconds of [1, 30, 45.5, 600]) {
    const all = await render({ name: `drain ${seconds}`, args: ["--set-json", `drainSeconds=${seconds}`] });
    for (const { name, spec } of workloads(all)) {
      const [container] = spec.containers;
      const sleep = Number(container.lifecycle?.preStop.exec.command[1] ?? 0);
      const config = JSON.parse(all.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === name).data["config.json"]);
      assert.equal(config.drain_seconds, seconds);
      assert.ok(spec.terminationGracePeriodSeconds > sleep + seconds, "strictly more than both together");
      assert.equal(name.endsWith("-gateway"), sleep > 0, "only what stands behind a Service waits for it to forget");
    }
  }
});

test("autoscaled workloads leave their number to the autoscaler", async () => {
  for (const { name, args } of cases()) {
    const all = await render({ name, args });
    const scaled = all
      .filter(({ kind }) => kind === "HorizontalPodAutoscaler" || kind === "ScaledObject")
      .map(({ spec }) => spec.scaleTargetRef.name);
    for (const { object } of workloads(all)) {
      assert.equal("replicas" in object.spec, !scaled.includes(object.metadata.name), `${name} ${object.metadata.name}`);
    }
  }
});

test("the notes say what is open, and what is not there yet", async () => {
  const notes = async (...args) => (await run("v35", ["install", release, chart, "--dry-run=client", ...args])).stdout.split("NOTES:")[1];
  const plain = await notes();
  assert.match(plain, /there is no cluster secret/);
  assert.match(plain, /there are no API keys/);
  assert.doesNotMatch(plain, /GPU/);
  const gpu = await notes("--values", `${chart}/values/trinity-large-gpu.yaml`);
  assert.match(gpu, /compute on CPUs only/);
  assert.match(gpu, /IPC_LOCK/);
  assert.doesNotMatch(plain, /claim|65532/);
  assert.match(await notes("--set", "model.storage.type=pvc"), /claim rel-tessera-models is new, so empty, and nothing here fills it/);
  const fetching = ["--values", `${chart}/values/fetched-checkpoint.yaml`, "--set"];
  assert.doesNotMatch(await notes(...fetching, "model.storage.type=pvc"), /claim/);
  assert.match(await notes(...fetching, "model.storage.type=hostPath"), /install -d -o 65532 -g 65532 \/var\/lib\/tessera\/models/);
  const closed = await notes("--values", `${chart}/values/hardened.yaml`);
  assert.doesNotMatch(closed, /NOTE/);
});
