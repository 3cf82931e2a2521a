// Runs rendered pods as processes of this machine, the way a kubelet would: config maps and secrets become files, env and
// args are expanded, probes are asked at their periods, and a pod ends by preStop, SIGTERM and, after its grace, SIGKILL.
// What differs: a pod's ports are free ports of the loopback interface and its mounts folders of a temporary one, so both
// are replaced wherever a rendered text names them.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { ofKind, program, workloads } from "./charts.mjs";

// Ports that nobody has now, all different.
async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

class Pod {
  constructor(cluster, workload, index) {
    const { object } = workload;
    this.cluster = cluster;
    this.workload = workload;
    this.index = index;
    this.service = object.spec.serviceName;
    this.name = `${workload.name}-${object.kind === "StatefulSet" ? index : `x${index}`}`;
    this.component = workload.labels["app.kubernetes.io/component"];
    this.container = workload.spec.containers[0];
    this.grace = workload.spec.terminationGracePeriodSeconds;
    this.folder = path.join(cluster.folder, this.name);
    this.ip = "127.0.0.1";
    this.ports = {}; // as in the container → here
    this.log = "";
    this.ready = false;
    this.leaving = false; // told to end: no Service sends to it any more
  }

  port(name) {
    const declared = this.container.ports.find((one) => one.name === name);
    return this.ports[declared.containerPort];
  }

  // What a rendered text means on this machine.
  local(text) {
    let out = text;
    for (const [port, here] of Object.entries(this.ports)) {
      out = out.replaceAll(`0.0.0.0:${port}`, `127.0.0.1:${here}`).replaceAll(`${this.ip}:${port}`, `127.0.0.1:${here}`);
    }
    for (const pod of this.cluster.pods) {
      if (pod.service === undefined) continue;
      for (const [port, here] of Object.entries(pod.ports)) {
        const name = `${pod.name}.${pod.service}.${pod.workload.object.metadata.namespace}.svc.cluster.local`;
        out = out.replaceAll(`${name}:${port}`, `127.0.0.1:${here}`);
      }
    }
    for (const { mountPath } of [...this.container.volumeMounts].sort((a, b) => b.mountPath.length - a.mountPath.length)) {
      if (mountPath !== "/tmp") out = out.replaceAll(mountPath, path.join(this.folder, mountPath));
    }
    return out.replaceAll("/usr/share/tessera/models", path.join(this.cluster.folder, "models"));
  }

  writeFiles() {
    const volumes = Object.fromEntries(this.workload.spec.volumes.map((volume) => [volume.name, volume]));
    for (const { name, mountPath } of this.container.volumeMounts) {
      const target = path.join(this.folder, mountPath);
      mkdirSync(target, { recursive: true });
      const { configMap, secret } = volumes[name];
      const object = configMap
        ? ofKind(this.cluster.objects, "ConfigMap").find(({ metadata }) => metadata.name === configMap.name)
        : secret && ofKind(this.cluster.objects, "Secret").find(({ metadata }) => metadata.name === secret.secretName);
      for (const [file, value] of Object.entries(object?.data ?? {})) {
        writeFileSync(path.join(target, file), this.local(secret ? Buffer.from(value, "base64").toString() : value));
      }
    }
  }

  environment() {
    const fields = {
      "metadata.name": this.name,
      "status.podIP": this.ip,
      "metadata.labels['apps.kubernetes.io/pod-index']": String(this.index),
    };
    return Object.fromEntries(this.container.env.map(({ name, value, valueFrom }) => {
      const given = value ?? fields[valueFrom.fieldRef.fieldPath];
      if (given === undefined) throw new Error(`${name} comes from an unknown field`);
      return [name, given];
    }));
  }

  start() {
    this.writeFiles();
    const env = this.environment();
    const expand = (text) => text.replaceAll(/\$\((\w+)\)/g, (_, variable) => env[variable]);
    const args = this.container.args.map((text) => this.local(expand(text)));
    const binary = program(path.basename(this.container.command[0]));
    this.process = spawn(binary, args, { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "ignore", "pipe"] });
    this.process.stderr.on("data", (data) => (this.log += data));
    this.exited = new Promise((resolve) => this.process.once("exit", (code, signal) => resolve({ code, signal })));
    this.exited.then(() => (this.ready = false));
    this.watching = this.watch();
  }

  alive() {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  // One HTTP probe: true, or why not.
  async probe({ httpGet, timeoutSeconds }) {
    try {
      const url = `http://127.0.0.1:${this.port(httpGet.port)}${httpGet.path}`;
      const reply = await fetch(url, { signal: AbortSignal.timeout(timeoutSeconds * 1000) });
      const text = await reply.text();
      return reply.status >= 200 && reply.status < 400 ? true : `${reply.status} ${text.trim()}`;
    } catch (error) {
      return error.message;
    }
  }

  // Startup, then readiness and liveness, until the process has gone.
  async watch() {
    const { startupProbe, readinessProbe, livenessProbe } = this.container;
    for (let failures = 0; this.alive(); await pause(0.05)) {
      const answer = await this.probe(startupProbe);
      if (answer === true) break;
      this.notReady = answer;
      // Probes are asked more often here, so that the test is short: the budget is counted in their time.
      failures += 0.05 / startupProbe.periodSeconds;
      if (failures > startupProbe.failureThreshold) throw new Error(`${this.name} does not start: ${answer}`);
    }
    for (let failures = 0; this.alive(); await pause(0.05)) {
      const answer = await this.probe(readinessProbe);
      this.ready = answer === true;
      this.notReady = answer;
      failures = (await this.probe(livenessProbe)) === true || !this.alive() ? 0 : failures + 1;
      if (failures >= livenessProbe.failureThreshold) throw new Error(`${this.name} would be started again`);
    }
  }

  async awaitReady(seconds = 120) {
    const end = Date.now() + seconds * 1000;
    while (!this.ready) {
      if (!this.alive()) throw new Error(`${this.name} ended:\n${this.log}`);
      if (Date.now() > end) throw new Error(`${this.name} is not ready: ${this.notReady}\n${this.log}`);
      await pause(0.02);
    }
  }

  // preStop, SIGTERM, SIGKILL after the grace. {code, signal, seconds}
  async terminate() {
    const begin = Date.now();
    this.leaving = true;
    const preStop = this.container.lifecycle?.preStop.exec.command;
    if (preStop) {
      const child = spawn(preStop[0], preStop.slice(1), { stdio: "ignore" });
      await new Promise((resolve) => child.once("exit", resolve));
    }
    this.process.kill("SIGTERM");
    const left = this.grace - (Date.now() - begin) / 1000;
    const timer = setTimeout(() => this.process.kill("SIGKILL"), left * 1000);
    const { code, signal } = await this.exited;
    clearTimeout(timer);
    await this.watching;
    return { code, signal, seconds: (Date.now() - begin) / 1000 };
  }
}

export class DryCluster {
  constructor(objects) {
    this.objects = objects;
    this.folder = mkdtempSync(path.join(tmpdir(), "tessera-dry-"));
    this.pods = [];
  }

  get modelsFolder() {
    return path.join(this.folder, "models");
  }

  of(component) {
    return this.pods.filter((pod) => pod.component === component);
  }

  // Pods of all workloads: as many as they ask for, or what an autoscaler begins with.
  async start() {
    const scalers = ofKind(this.objects, "HorizontalPodAutoscaler");
    for (const workload of workloads(this.objects)) {
      const scaler = scalers.find(({ spec }) => spec.scaleTargetRef.name === workload.name);
      const count = workload.object.spec.replicas ?? scaler.spec.minReplicas;
      for (let i = 0; i < count; ++i) this.pods.push(new Pod(this, workload, i));
    }
    await this.givePorts(this.pods);
    for (const pod of this.pods) pod.start();
    await Promise.all(this.pods.map((pod) => pod.awaitReady()));
  }

  async givePorts(pods) {
    const declared = pods.flatMap((pod) => pod.container.ports.map(({ containerPort }) => ({ pod, containerPort })));
    const ports = await freePorts(declared.length);
    declared.forEach(({ pod, containerPort }, i) => (pod.ports[containerPort] = ports[i]));
  }

  // What its controller does when a pod is gone: another in its place, with its name if it has one of its own.
  async replace(pod) {
    const next = new Pod(this, pod.workload, pod.service === undefined ? pod.index + 100 : pod.index);
    next.ports = pod.ports;
    this.pods[this.pods.indexOf(pod)] = next;
    next.start();
    await next.awaitReady();
    return next;
  }

  async stop() {
    await Promise.all(this.pods.map(async (pod) => {
      if (pod.process && pod.alive()) pod.process.kill("SIGKILL");
      await pod.exited;
      await pod.watching?.catch(() => {});
    }));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
