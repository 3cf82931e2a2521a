// A cluster of two gateways, two routers and three shards as an operator runs it: processes with config files, each of which can be
// told to end and be started again.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { metric, until } from "../clients/programs.mjs";

const bin = process.env.TESSERA_BIN;

// Ports of the loopback interface that nobody has now: gateways and routers keep theirs over a restart.
async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(server));
  })));
  const addresses = servers.map((server) => `127.0.0.1:${server.address().port}`);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return addresses;
}

class Member {
  constructor(fleet, role, index, config) {
    Object.assign(this, { fleet, role, index, name: `${role}-${index}`, leaving: false, log: "" });
    this.endpointsFile = path.join(fleet.folder, `${this.name}.endpoints`);
    this.configFile = path.join(fleet.folder, `${this.name}.json`);
    writeFileSync(this.configFile, JSON.stringify({ ...config, endpoints_file: this.endpointsFile, drain_seconds: fleet.drainSeconds }));
  }

  async start() {
    this.log = "";
    this.child = spawn(path.join(bin, `tessera-${this.role}`), [`--config=${this.configFile}`], { stdio: ["ignore", "ignore", "pipe"] });
    this.child.stderr.on("data", (data) => (this.log += data));
    this.exited = new Promise((resolve) => this.child.once("exit", (code, signal) => resolve({ code, signal })));
    Object.assign(this, await until(() => {
      if (!this.alive()) throw new Error(`${this.name} ended:\n${this.log}`);
      return existsSync(this.endpointsFile) && JSON.parse(readFileSync(this.endpointsFile, "utf8"));
    }, `${this.name} to listen`));
  }

  alive() {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }
  get url() {
    return `http://${this.http}`;
  }
  async isReady() {
    return (await fetch(`http://${this.admin}/readyz`)).status === 200;
  }
  async metric(name) {
    return metric(await (await fetch(`http://${this.admin}/metrics`)).text(), name);
  }

  // SIGTERM and the end that follows: {code, signal, seconds}.
  async drain() {
    const begin = performance.now();
    this.child.kill("SIGTERM");
    const end = await this.exited;
    return { ...end, seconds: (performance.now() - begin) / 1000 };
  }
}

export class Fleet {
  static async start({ drainSeconds = 60 } = {}) {
    const fleet = new Fleet();
    fleet.drainSeconds = drainSeconds;
    fleet.folder = mkdtempSync(path.join(tmpdir(), "tessera-fleet-"));
    const model = path.join(fleet.folder, "tiny");
    execFileSync(path.join(bin, "tests_write_tiny_model"), [model, "512"]);
    const [g0, g1, a0, a1, r0, r1, b0, b1] = await freePorts(8);
    const routers = [r0, r1];
    const compute = { threads: 1 };
    fleet.members = [
      ...[[r0, b0], [r1, b1]].map(([grpc_listen, admin_listen], i) => new Member(fleet, "router", i, {
        model, grpc_listen, grpc_advertise: grpc_listen, admin_listen, leader: r0, compute, strict: true, kv_bytes: 1 << 25,
        membership: { copies_wanted: 2 } })),
      ...[0, 1, 2].map((shard_id) => new Member(fleet, "expert", shard_id, {
        model, shard_id, shard_count: 3, replicas: 2, grpc_listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0",
        data_listen: "ucx:127.0.0.1:0", router_addresses: routers, compute })),
      ...[[g0, a0], [g1, a1]].map(([http_listen, admin_listen], i) => new Member(fleet, "gateway", i, {
        model, http_listen, grpc_listen: "127.0.0.1:0", admin_listen, router_addresses: routers })),
    ];
    try {
      await Promise.all(fleet.members.map((member) => member.start()));
      await fleet.settle();
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  of(role) {
    return this.members.filter((member) => member.role === role);
  }

  // Everybody is ready and has found the others: a gateway that came back is given streams again.
  async settle() {
    await until(async () => {
      const ready = await Promise.all(this.members.map((member) => member.isReady()));
      const up = await Promise.all(this.of("gateway").map((member) => member.metric("tessera_gateway_routers_up")));
      const linked = await Promise.all(this.of("router").map((member) => member.metric("tessera_router_shards_linked")));
      return ready.every(Boolean) && up.every((count) => count === 2) && linked.every((count) => count === 3);
    }, "all to find each other");
    for (const member of this.members) member.leaving = false;
  }

  async stop() {
    for (const member of this.members) if (member.alive()) member.child.kill("SIGKILL");
    await Promise.all(this.members.map((member) => member.exited));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
