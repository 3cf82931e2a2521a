// Every rendered object is a literal of its type: the compiler finds what is missing, of another type, or unknown.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { cases, render } from "./charts.mjs";

const types = {
  "v1 Service": ["kubernetes-types/core/v1", "Service"],
  "v1 ConfigMap": ["kubernetes-types/core/v1", "ConfigMap"],
  "v1 Secret": ["kubernetes-types/core/v1", "Secret"],
  "v1 ServiceAccount": ["kubernetes-types/core/v1", "ServiceAccount"],
  "v1 PersistentVolumeClaim": ["kubernetes-types/core/v1", "PersistentVolumeClaim"],
  "apps/v1 Deployment": ["kubernetes-types/apps/v1", "Deployment"],
  "apps/v1 StatefulSet": ["kubernetes-types/apps/v1", "StatefulSet"],
  "autoscaling/v2 HorizontalPodAutoscaler": ["kubernetes-types/autoscaling/v2", "HorizontalPodAutoscaler"],
  "policy/v1 PodDisruptionBudget": ["kubernetes-types/policy/v1", "PodDisruptionBudget"],
  "networking.k8s.io/v1 NetworkPolicy": ["kubernetes-types/networking/v1", "NetworkPolicy"],
  "networking.k8s.io/v1 Ingress": ["kubernetes-types/networking/v1", "Ingress"],
  "monitoring.coreos.com/v1 ServiceMonitor":
    ["@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1", "IServiceMonitor"],
  "monitoring.coreos.com/v1 PodMonitor": ["@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1", "IPodMonitor"],
  "monitoring.coreos.com/v1 PrometheusRule":
    ["@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1", "IPrometheusRule"],
  "keda.sh/v1alpha1 ScaledObject": ["@kubernetes-models/keda/keda.sh/v1alpha1", "IScaledObject"],
  "gateway.networking.k8s.io/v1 HTTPRoute": ["@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1", "IHTTPRoute"],
};

// One TypeScript file with an object a line.
function source(objects) {
  const lines = [];
  objects.forEach(({ from, object }, i) => {
    const type = types[`${object.apiVersion} ${object.kind}`];
    assert.ok(type, `${from}: no type is known for ${object.apiVersion} ${object.kind}`);
    const [module, name] = type;
    lines.push(`import type { ${name} as T${i} } from "${module}";`);
    lines.push(`export const o${i}: T${i} = ${JSON.stringify(object)};`);
  });
  return `${lines.join("\n")}\n`;
}

async function compile(name, objects) {
  const folder = path.resolve("types", name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, "objects.ts"), source(objects));
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", "--types", ""];
  const tsc = path.resolve("node_modules/.bin/tsc");
  return promisify(execFile)(tsc, [...options, path.join(folder, "objects.ts")], { maxBuffer: 1 << 26 }).then(
    () => "",
    ({ stdout, stderr }) => stdout + stderr,
  );
}

test("all objects of all cases", async () => {
  const objects = [];
  for (const one of cases()) {
    for (const object of await render(one)) objects.push({ from: one.name, object });
  }
  assert.ok(objects.length > 250, `${objects.length} objects`);
  const seen = new Set(objects.map(({ object }) => `${object.apiVersion} ${object.kind}`));
  assert.deepEqual([...seen].sort(), Object.keys(types).sort(), "every kind of the table is rendered by some case");
  assert.equal(await compile("all", objects), "");
});

test("the compiler does find faults", async () => {
  const all = await render(cases().find(({ name }) => name === "trinity-mini"));
  const faults = [
    ["Deployment", (o) => (o.spec.template.spec.containers[0].readinessPorbe = {}), /readinessPorbe/],
    ["StatefulSet", (o) => (o.spec.replicas = "3"), /not assignable/],
    ["Service", (o) => delete o.spec.ports[0].port, /'?port'? is missing/],
    ["ScaledObject", (o) => (o.spec.triggers[0].metdata = {}), /metdata/],
    ["ServiceMonitor", (o) => (o.spec.endpoint = []), /endpoint/],
  ];
  for (const [kind, spoil, message] of faults) {
    const object = structuredClone(all.find((one) => one.kind === kind));
    spoil(object);
    assert.match(await compile(`fault-${kind}`, [{ from: kind, object }]), message);
  }
});
