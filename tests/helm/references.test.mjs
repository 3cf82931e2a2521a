// What objects say of each other is true: selectors, ports, names, files.

import assert from "node:assert/strict";
import test from "node:test";
import { cases, namespace, ofKind, render, selects, workloads } from "./charts.mjs";

// Objects that values name and that are there already.
const outside = {
  hardened: ["tessera-cluster", "tessera-grpc", "tessera-http", "tessera-keys"],
  "trinity-mini": ["models"],
  "trinity-nano-cpu": ["models"],
  "public-ingress": ["llm-example-com"],
  "gateway-api-canary": ["llm-next-gateway"],
};

function named(all, kind, name) {
  return all.find((object) => object.kind === kind && object.metadata.name === name);
}

function ports(workload) {
  return Object.fromEntries(workload.spec.containers[0].ports.map(({ name, containerPort }) => [name, containerPort]));
}

function check(caseName, all) {
  const known = (kind, name) => named(all, kind, name) ?? outside[caseName]?.includes(name);
  const pods = workloads(all);

  const ids = all.map(({ apiVersion, kind, metadata }) => `${apiVersion} ${kind} ${metadata.name}`);
  assert.equal(new Set(ids).size, ids.length, "every object once");
  for (const { kind, metadata } of all) {
    assert.ok(metadata.name.length <= 63, metadata.name);
    if (metadata.labels) assert.equal(metadata.namespace, namespace, `${kind} ${metadata.name}`);
  }

  for (const { object, name, labels, spec } of pods) {
    assert.ok(selects(object.spec.selector, labels), `${name} selects its pods`);
    const others = pods.filter((pod) => pod.name !== name && selects(object.spec.selector, pod.labels));
    assert.deepEqual(others.map((pod) => pod.name), [], `${name} selects no others`);
    assert.ok(known("ServiceAccount", spec.serviceAccountName), spec.serviceAccountName);
    if (object.kind === "StatefulSet") {
      const service = named(all, "Service", object.spec.serviceName);
      assert.equal(service?.spec.clusterIP, "None", "its pods have names");
      assert.ok(selects({ matchLabels: service.spec.selector }, labels));
      assert.equal(service.spec.publishNotReadyAddresses, true, "who is not ready yet must be found");
    }
    const volumes = Object.fromEntries(spec.volumes.map((volume) => [volume.name, volume]));
    for (const volume of spec.volumes) {
      if (volume.configMap) assert.ok(known("ConfigMap", volume.configMap.name), volume.configMap.name);
      if (volume.secret) assert.ok(known("Secret", volume.secret.secretName), volume.secret.secretName);
      const claim = volume.persistentVolumeClaim?.claimName;
      if (claim) assert.ok(known("PersistentVolumeClaim", claim), claim);
    }
    const mounted = new Set();
    for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
      for (const { name: volume } of container.volumeMounts) {
        assert.ok(volumes[volume], `${name}: volume ${volume}`);
        mounted.add(volume);
      }
      for (const text of [...(container.command ?? []), ...(container.args ?? [])]) {
        for (const [, variable] of text.matchAll(/\$\((\w+)\)/g)) {
          assert.ok(container.env.some((one) => one.name === variable), `${name}: $(${variable})`);
        }
      }
    }
    assert.deepEqual([...mounted].sort(), Object.keys(volumes).sort(), `${name}: every volume is used`);
    const [container] = spec.containers;
    for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
      assert.ok(container[probe].httpGet.port in ports({ spec }), `${name} ${probe}`);
    }
    assert.notEqual(container.readinessProbe.httpGet.path, container.livenessProbe.httpGet.path);
    for (const constraint of spec.topologySpreadConstraints ?? []) assert.ok(selects(constraint.labelSelector, labels));
    restricted(caseName, name, spec);
    files(caseName, all, { name, spec, object });
  }

  for (const service of ofKind(all, "Service")) {
    const behind = pods.filter((pod) => selects({ matchLabels: service.spec.selector }, pod.labels));
    assert.equal(behind.length, 1, service.metadata.name);
    for (const { targetPort, port, name } of service.spec.ports) {
      const real = ports(behind[0])[targetPort];
      assert.ok(real, `${service.metadata.name}: ${targetPort}`);
      if (service.spec.clusterIP === "None") assert.equal(port, real, `${name}: DNS gives pods, so the port is theirs`);
    }
  }

  for (const budget of ofKind(all, "PodDisruptionBudget")) {
    assert.equal(pods.filter((pod) => selects(budget.spec.selector, pod.labels)).length, 1, budget.metadata.name);
  }

  for (const scaler of ofKind(all, "HorizontalPodAutoscaler", "ScaledObject")) {
    const { kind, name } = scaler.spec.scaleTargetRef;
    assert.ok(named(all, kind, name), `${scaler.metadata.name} scales ${kind} ${name}`);
  }

  // No program asks Kubernetes for anything, so no account may do anything.
  assert.deepEqual(ofKind(all, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Lease"), []);

  const backends = [
    ...ofKind(all, "Ingress").flatMap(({ spec }) => spec.rules.flatMap(({ http }) => http.paths.map(({ backend }) => ({
      name: backend.service.name, port: backend.service.port.name,
    })))),
    ...ofKind(all, "HTTPRoute").flatMap(({ spec }) => spec.rules.flatMap(({ backendRefs }) => backendRefs)),
  ];
  for (const { name, port } of backends) {
    const service = named(all, "Service", name);
    if (!service) assert.ok(outside[caseName]?.includes(name), name);
    else assert.ok(service.spec.ports.some((one) => one.name === port || one.port === port), `${name}:${port}`);
  }

  // Every pod's /metrics, and the routers' page of experts beside it.
  const scraped = new Set();
  const note = (pod, page) => {
    assert.ok(!scraped.has(`${pod.name}${page}`), `${pod.name}${page} is scraped once`);
    scraped.add(`${pod.name}${page}`);
  };
  for (const { spec } of ofKind(all, "ServiceMonitor")) {
    for (const service of ofKind(all, "Service").filter(({ metadata }) => selects(spec.selector, metadata.labels))) {
      for (const { port, path: page } of spec.endpoints) {
        assert.ok(service.spec.ports.some(({ name }) => name === port));
        for (const pod of pods.filter((one) => selects({ matchLabels: service.spec.selector }, one.labels))) note(pod, page);
      }
    }
  }
  for (const { spec } of ofKind(all, "PodMonitor")) {
    for (const pod of pods.filter(({ labels }) => selects(spec.selector, labels))) {
      for (const { port, path: page } of spec.podMetricsEndpoints) {
        assert.ok(port in ports(pod));
        note(pod, page);
      }
    }
  }
  if (scraped.size > 0) {
    const routers = pods.filter(({ labels }) => labels["app.kubernetes.io/component"] === "router");
    const pages = [...pods.map(({ name }) => `${name}/metrics`), ...routers.map(({ name }) => `${name}/metrics/experts`)];
    assert.deepEqual([...scraped].sort(), pages.sort(), "all are scraped");
  }
}

// The Pod Security level "restricted", but for what RDMA needs.
function restricted(caseName, name, spec) {
  assert.equal(spec.automountServiceAccountToken, false);
  assert.equal(spec.securityContext.runAsNonRoot, true);
  assert.equal(spec.securityContext.seccompProfile.type, "RuntimeDefault");
  for (const field of ["hostNetwork", "hostPID", "hostIPC"]) assert.equal(spec[field], undefined);
  for (const { securityContext } of [...(spec.initContainers ?? []), ...spec.containers]) {
    assert.equal(securityContext.allowPrivilegeEscalation, false);
    assert.equal(securityContext.readOnlyRootFilesystem, true);
    assert.deepEqual(securityContext.capabilities.drop, ["ALL"]);
    const rdma = caseName === "trinity-large-gpu" && !name.endsWith("-gateway");
    assert.deepEqual(securityContext.capabilities.add, rdma ? ["IPC_LOCK"] : undefined, name);
  }
}

// Every file that a config or the command line names lies in a mount.
function files(caseName, all, { name, spec }) {
  const [container] = spec.containers;
  const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
  assert.equal(container.command.length, 1);
  assert.match(container.command[0], /^\/usr\/bin\/tessera-(gateway|router|expert)$/);
  const config = JSON.parse(named(all, "ConfigMap", name).data["config.json"]);
  const named_files = [];
  JSON.stringify(config, (key, value) => {
    if (typeof value === "string" && (key.endsWith("_file") || key === "model")) named_files.push(value);
    return value;
  });
  assert.ok(named_files.length > 0);
  for (const file of [...named_files, "/etc/tessera/config/config.json"]) {
    const inImage = file.startsWith("/usr/share/tessera/models/");
    assert.ok(inImage || mounts.some((mount) => file.startsWith(`${mount}/`)), `${caseName} ${name}: ${file}`);
  }
}

for (const one of cases()) {
  test(one.name, async () => check(one.name, await render(one)));
}

// May a pod with `from` labels connect to `to` at this port?
function admits(all, from, to, port) {
  const policies = ofKind(all, "NetworkPolicy");
  const peer = (peers, labels) => peers === undefined || peers.some(({ podSelector, namespaceSelector }) =>
    namespaceSelector === undefined && podSelector !== undefined && selects(podSelector, labels));
  const open = (wanted, target) => wanted === undefined || wanted.some(({ port: first, endPort }) => {
    const number = typeof first === "string" ? ports(target)[first] : first;
    return port >= number && port <= (endPort ?? number);
  });
  const allows = (side, own, other) => policies
    .filter(({ spec }) => selects(spec.podSelector, own.labels))
    .flatMap(({ spec }) => spec[side] ?? [])
    .some((rule) => peer(rule[side === "ingress" ? "from" : "to"], other.labels) && open(rule.ports, to));
  return allows("egress", from, to) && allows("ingress", to, from);
}

test("NetworkPolicies let through what services say to each other, and nothing else", async () => {
  for (const kind of ["ucx", "grpc"]) {
    const all = await render({ name: `transport ${kind}`, args: ["--set", `transport.kind=${kind}`] });
    const by = Object.fromEntries(workloads(all).map((pod) => [pod.labels["app.kubernetes.io/component"], pod]));
    const { gateway, router, expert, "expert-burst": burst } = by;
    const stranger = { labels: { app: "stranger" }, spec: gateway.spec };
    const table = [
      [gateway, router, 8010, true], [gateway, router, 8012, false], [gateway, expert, 8020, false], [gateway, burst, 8020, false],
      [router, router, 8010, true], [router, expert, 8020, true], [router, burst, 8020, true], [router, gateway, 8000, false],
      [expert, router, 8010, true], [burst, router, 8010, true], [burst, gateway, 8001, false],
      [expert, burst, 8020, true], [burst, expert, 8020, true], [expert, expert, 8020, true], [expert, burst, 8021, false],
      [router, expert, 8021, kind === "ucx"], [router, burst, 45678, kind === "ucx"], [expert, router, 45678, kind === "ucx"],
      [router, expert, 22, false],
    ];
    for (const [from, to, port, expected] of table) {
      assert.equal(admits(all, from, to, port), expected, `${kind}: ${from.name} to ${to.name}:${port}`);
    }
    // Who is not of the release is let out by nobody's policy but its own: only the way in is looked at.
    const policies = ofKind(all, "NetworkPolicy");
    for (const [pod, port, expected] of [[gateway, "http", true], [gateway, "admin", false], [router, "grpc", false], [expert, "grpc", false]]) {
      const rules = policies.filter(({ spec }) => selects(spec.podSelector, pod.labels)).flatMap(({ spec }) => spec.ingress ?? []);
      const open = rules.some((rule) => rule.ports.some((one) => one.port === port) && (rule.from === undefined ||
        rule.from.some(({ podSelector, namespaceSelector }) => !namespaceSelector && selects(podSelector, stranger.labels))));
      assert.equal(open, expected, `a stranger to ${pod.name}:${port}`);
    }
    const denied = policies.find(({ spec }) => !spec.ingress && !spec.egress);
    assert.deepEqual(denied.spec.policyTypes, ["Ingress", "Egress"]);
    for (const pod of workloads(all)) assert.ok(selects(denied.spec.podSelector, pod.labels));
  }
});
