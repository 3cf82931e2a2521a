// Writes helm/tessera/values.schema.json to standard output. `config` of each service is the message of
// protos/tessera/config/v1, less what the chart decides itself; the rest stands here.
//
//   node tests/helm/make_schema.mjs > helm/tessera/values.schema.json
//
// schema.test.mjs holds the file equal to what this prints.

import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

// Decided by the chart, from other values.
const decided = {
  Gateway: ["model", "served_model_name", "router_addresses", "http_listen", "grpc_listen", "grpc_advertise", "admin_listen",
    "endpoints_file", "tls", "log.json", "log.file", "keys_file", "drain_seconds", "http.certificate_file", "http.key_file",
    "otlp_endpoint", "otlp_sample_ratio"],
  Router: ["model", "grpc_listen", "grpc_advertise", "admin_listen", "endpoints_file", "cluster_secret_file", "tls", "log.json",
    "log.file", "leader", "drain_seconds", "membership.transport", "membership.copies_wanted", "ucx",
    "expert_metrics", "otlp_endpoint"],
  ExpertShard: ["model", "shard_id", "shard_count", "replicas", "grpc_listen", "grpc_advertise", "admin_listen", "data_listen",
    "data_advertise", "endpoints_file", "cluster_secret_file", "tls", "log.json", "log.file", "router_addresses",
    "drain_seconds", "draw_shard_id", "ucx", "otlp_endpoint"],
};

const scalars = {
  string: { type: "string" },
  bool: { type: "boolean" },
  double: { type: "number" },
  uint32: { type: "integer", minimum: 0, maximum: 4294967295 },
  uint64: { type: "integer", minimum: 0 },
  int32: { type: "integer", minimum: -2147483648, maximum: 2147483647 },
};

// name → [[field, type, repeated]] of every message in the config protos.
export function readMessages(sources) {
  const messages = {};
  for (const file of ["common", "gateway", "router", "expert_shard"]) {
    const text = readFileSync(path.join(sources, `protos/tessera/config/v1/${file}.proto`), "utf8").replace(/\/\/.*$/gm, "");
    for (const [, name, body] of text.matchAll(/message (\w+) \{([^}]*)\}/g)) {
      messages[name] = [...body.matchAll(/(optional |repeated )?(\w+) (\w+) = \d+;/g)].map(([, label, type, field]) => [
        field, type, label === "repeated ",
      ]);
    }
  }
  return messages;
}

function messageSchema(messages, name, left, prefix = "") {
  const properties = {};
  for (const [field, type, repeated] of messages[name]) {
    if (left.includes(prefix + field)) continue;
    const one = scalars[type] ?? messageSchema(messages, type, left, `${prefix}${field}.`);
    properties[field] = repeated ? { type: "array", items: one } : one;
  }
  return closed(properties);
}

function closed(properties, more = {}) {
  return { type: "object", additionalProperties: false, properties, ...more };
}

const text = { type: "string" };
const flag = { type: "boolean" };
const count = { type: "integer", minimum: 0 };
const positive = { type: "integer", minimum: 1 };
const port = { type: "integer", minimum: 1, maximum: 65535 };
const wanted = { enum: ["auto", true, false] };
const texts = { type: "array", items: text };
const map = { type: "object", additionalProperties: text };
const anyObject = { type: "object" };
const objects = { type: "array", items: anyObject };
const quantity = { anyOf: [{ type: "string", pattern: "^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$" }, { type: "number", minimum: 0 }] };
const quantities = { type: "object", additionalProperties: quantity };
const resources = closed({ requests: quantities, limits: quantities });
const name = { type: "string", pattern: "^$|^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", maxLength: 253 };
const interval = { type: "string", pattern: "^[0-9]+(ms|s|m|h)$" };
const share = { type: "number", exclusiveMinimum: 0, maximum: 1 };
const scale = { minReplicas: count, maxReplicas: positive };
const pdb = closed({
  enabled: flag,
  maxUnavailable: { anyOf: [positive, { type: "string", pattern: "^[1-9][0-9]?%$" }] },
});
const pod = {
  resources,
  nodeSelector: map,
  tolerations: objects,
  affinity: anyObject,
  topologySpread: closed({
    enabled: flag, whenUnsatisfiable: { enum: ["ScheduleAnyway", "DoNotSchedule"] }, constraints: objects,
  }),
  priorityClassName: name,
  podAnnotations: map,
  podLabels: map,
  extraEnv: objects,
  extraVolumes: objects,
  extraVolumeMounts: objects,
};

const model = {
  ...closed({
    name: { type: "string", minLength: 1 },
    folder: { type: "string", pattern: "^[A-Za-z0-9_][A-Za-z0-9._/-]*$", not: { pattern: "\\.\\." } },
    storage: closed({
      type: { enum: ["image", "pvc", "hostPath", "emptyDir", "volume"] },
      pvc: closed({
        existingClaim: name,
        size: quantity,
        storageClassName: name,
        accessModes: {
          type: "array",
          minItems: 1,
          items: { enum: ["ReadWriteMany", "ReadOnlyMany", "ReadWriteOnce", "ReadWriteOncePod"] },
        },
      }),
      hostPath: closed({ path: { type: "string", pattern: "^/" } }),
      emptyDir: closed({ sizeLimit: { anyOf: [{ const: "" }, quantity] } }),
      volume: anyObject,
    }),
    sha256sums: { type: "string", pattern: "^(\\s*|([0-9a-f]{64} [ *][^\\n]+\\n?)+)$" },
    fetch: closed({
      command: texts, image: text, env: objects, envFrom: objects, egress: objects, resources,
    }),
  }),
  allOf: [
    {
      if: { properties: { fetch: { properties: { command: { minItems: 1 } }, required: ["command"] } }, required: ["fetch"] },
      then: {
        properties: {
          sha256sums: { minLength: 64 },
          storage: { properties: { type: { enum: ["pvc", "hostPath", "emptyDir", "volume"] } } },
        },
      },
    },
    {
      if: { properties: { storage: { properties: { type: { const: "volume" } }, required: ["type"] } } },
      then: { properties: { storage: { properties: { volume: { minProperties: 1 } } } } },
    },
    {
      if: { properties: { storage: { properties: { type: { const: "emptyDir" } }, required: ["type"] } } },
      then: { properties: { fetch: { properties: { command: { minItems: 1 } } } } },
    },
  ],
};

function gateway(config) {
  return closed({
    replicas: positive,
    autoscaling: closed({ enabled: flag, minReplicas: positive, maxReplicas: positive, cpuUtilization: { ...positive, maximum: 100 } }),
    config,
    service: closed({
      type: { enum: ["ClusterIP", "NodePort", "LoadBalancer"] }, httpPort: port, grpcPort: port, annotations: map,
      loadBalancerClass: text,
    }),
    ingress: {
      ...closed({
        enabled: flag,
        className: name,
        annotations: map,
        hosts: {
          type: "array",
          items: closed(
            {
              host: { type: "string", minLength: 1 },
              paths: {
                type: "array",
                minItems: 1,
                items: closed(
                  { path: { type: "string", pattern: "^/" }, pathType: { enum: ["Prefix", "Exact", "ImplementationSpecific"] } },
                  { required: ["path", "pathType"] },
                ),
              },
            },
            { required: ["host", "paths"] },
          ),
        },
        tls: { type: "array", items: closed({ hosts: texts, secretName: name }) },
      }),
      if: { properties: { enabled: { const: true } } },
      then: { properties: { hosts: { minItems: 1 } } },
    },
    httpRoute: {
      ...closed({
        enabled: flag,
        parentRefs: {
          type: "array",
          items: closed({ name, namespace: name, sectionName: name, port, kind: text, group: text }, { required: ["name"] }),
        },
        hostnames: texts,
        annotations: map,
        canary: closed({ service: name, port, weight: { ...count, maximum: 100 } }),
      }),
      if: { properties: { enabled: { const: true } } },
      then: { properties: { parentRefs: { minItems: 1 } } },
    },
    tlsSecret: name,
    apiKeys: closed({ value: text, existingSecret: name }),
    pdb,
    ...pod,
  });
}

function burstShard(config) {
  return closed({
    enabled: flag,
    replicas: count,
    slotsSpare: { type: "integer", minimum: -1, maximum: 16777216 },
    autoscaling: closed({
      type: { enum: ["hpa", "keda", "none"] },
      ...scale,
      busyRatio: share,
      queueWaitSeconds: { type: "number", exclusiveMinimum: 0 },
      cooldownSeconds: { ...count, maximum: 3600 },
      metrics: closed({ busyRatio: { type: "string", minLength: 1 }, queueWait: { type: "string", minLength: 1 } }),
      prometheus: closed({ serverAddress: { type: "string", pattern: "^https?://" } }),
    }),
    config,
    ...pod,
  });
}

export function valuesSchema(sources) {
  const messages = readMessages(sources);
  const config = (message) => messageSchema(messages, message, decided[message]);
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Values of the chart tessera",
    definitions: { expertShardConfig: config("ExpertShard") },
    ...closed({
      global: anyObject, // given to every chart by Helm
      nameOverride: name,
      fullnameOverride: name,
      commonLabels: map,
      clusterDomain: { ...name, minLength: 1 },
      ipFamily: { enum: ["IPv4", "IPv6"] },
      image: closed({
        repository: { type: "string", minLength: 1 },
        tag: text,
        digest: { type: "string", pattern: "^$|^sha256:[0-9a-f]{64}$" },
        pullPolicy: { enum: ["IfNotPresent", "Always", "Never"] },
        pullSecrets: { type: "array", items: closed({ name }, { required: ["name"] }) },
      }),
      drainSeconds: { type: "number", minimum: 1, maximum: 3600 },
      modelLoadTimeoutSeconds: { type: "integer", minimum: 10, maximum: 86400 },
      model,
      clusterSecret: closed({ value: { anyOf: [{ const: "" }, { type: "string", minLength: 16, maxLength: 4096 }] }, existingSecret: name }),
      tls: closed({ existingSecret: name }),
      transport: closed({ kind: { enum: ["ucx", "grpc"] }, transports: { type: "string", minLength: 1 }, netDevices: text }),
      rdma: closed({ enabled: flag, transports: { type: "string", minLength: 1 }, resources: quantities, annotations: map }),
      gpu: closed({
        router: closed({ count }), expertShard: closed({ count }), resourceName: { type: "string", minLength: 1 },
        runtimeClassName: name,
      }),
      gateway: gateway(config("Gateway")),
      router: closed({ replicas: positive, config: config("Router"), pdb, ...pod }),
      expertShard: closed({
        count: { ...positive, maximum: 64512 }, copies: positive, config: { $ref: "#/definitions/expertShardConfig" }, pdb, ...pod,
      }),
      burstShard: burstShard({ $ref: "#/definitions/expertShardConfig" }),
      networkPolicy: closed({ enabled: flag, gatewayFrom: objects, monitoringFrom: objects, dnsTo: { ...objects, minItems: 1 }, tracesTo: { ...objects, minItems: 1 } }),
      tracing: closed({
        endpoint: { type: "string", pattern: "^$|^http://[^\\s/]+:[0-9]+$" },
        sampleRatio: { type: "number", minimum: 0, maximum: 1 },
      }),
      monitoring: closed({
        serviceMonitor: closed({ enabled: wanted, interval, labels: map }),
        podMonitor: closed({ enabled: wanted, interval, labels: map }),
        expertMetrics: closed({ enabled: flag, interval }),
        prometheusRule: closed({ enabled: wanted, labels: map }),
        runbookBaseUrl: { type: "string", pattern: "^$|^https?://[^\\s]+[^\\s/]$" },
        dashboards: closed({ enabled: flag, labels: map, annotations: map }),
      }),
      extraObjects: objects,
    }),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const sources = path.join(path.dirname(process.argv[1]), "../..");
  process.stdout.write(`${JSON.stringify(valuesSchema(sources), null, 1)}\n`);
}
