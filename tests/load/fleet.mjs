// A cluster of two gateways, two routers and some shards as an operator runs it: processes with config files, each of which can be
// told to end, or killed, and be started again. What they say is kept in the folder that TESSERA_LOGS names, if it does.

import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { metric, until } from "../clients/programs.mjs";

const bin = process.env.TESSERA_BIN;
const logs = process.env.TESSERA_LOGS;

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
    this.child.stderr.on("data", (data) => {
      this.log += data;
      this.fleet.keep(this.name, data);
    });
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
    return (await fetch(`http://${this.admin}/readyz`, { signal: AbortSignal.timeout(10_000) })).status === 200;
  }
  async metrics() {
    return (await fetch(`http://${this.admin}/metrics`, { signal: AbortSignal.timeout(10_000) })).text();
  }
  async metric(name) {
    return metric(await this.metrics(), name);
  }

  // As a machine does that loses its power.
  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
    rmSync(this.endpointsFile, { force: true });
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
  //   model    folder of a checkpoint; a tiny one is made without it
  //   shards   that hold every expert `replicas` times; `balance` is the routers' config of that name
  //   spare    slots of a shard beyond those; -1: its own choice
  static async start({ drainSeconds = 60, model, shards = 3, replicas = 2, spare = -1, balance = {} } = {}) {
    const fleet = new Fleet();
    fleet.folder = mkdtempSync(path.join(tmpdir(), "tessera-fleet-"));
    if (model === undefined) {
      model = path.join(fleet.folder, "tiny");
      execFileSync(path.join(bin, "tests_write_tiny_model"), [model, "512"]);
    }
    const [g0, g1, a0, a1, r0, r1, b0, b1] = await freePorts(8);
    Object.assign(fleet, { drainSeconds, model, shards, replicas, spare, routers: [r0, r1], compute: { threads: 1 }, members: [] });
    for (const [grpc_listen, admin_listen] of [[r0, b0], [r1, b1]]) {
      fleet.add("router", { model, grpc_listen, grpc_advertise: grpc_listen, admin_listen, leader: r0, compute: fleet.compute,
        strict: true, kv_bytes: 1 << 25, membership: { copies_wanted: replicas }, balance });
    }
    for (let shard = 0; shard < shards; ++shard) fleet.addShard();
    for (const [http_listen, admin_listen] of [[g0, a0], [g1, a1]]) {
      fleet.add("gateway", { model, http_listen, grpc_listen: "127.0.0.1:0", admin_listen, router_addresses: fleet.routers });
    }
    try {
      await Promise.all(fleet.members.map((member) => member.start()));
      await fleet.settle();
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  // Appends to what is kept of `name`, a member or the test itself.
  keep(name, said) {
    if (logs === undefined) return;
    const folder = path.join(logs, path.basename(this.folder));
    mkdirSync(folder, { recursive: true });
    appendFileSync(path.join(folder, `${name}.log`), said);
  }

  add(role, config) {
    this.members.push(new Member(this, role, this.of(role).length, config));
    return this.members.at(-1);
  }

  // One more, to be started; beyond the first `shards` it begins with nothing and is given copies.
  addShard() {
    const { model, shards: shard_count, replicas, spare: slots_spare, routers: router_addresses, compute } = this;
    return this.add("expert", { model, shard_id: this.of("expert").length, shard_count, replicas, slots_spare, grpc_listen: "127.0.0.1:0",
      admin_listen: "127.0.0.1:0", data_listen: "ucx:127.0.0.1:0", router_addresses, compute });
  }

  of(role) {
    return this.members.filter((member) => member.role === role);
  }

  // Everybody who lives is ready and has found the others: a gateway that came back is given streams again.
  async settle() {
    const experts = this.of("expert").filter((member) => member.alive()).length;
    await until(async () => {
      const ready = await Promise.all(this.members.filter((member) => member.alive()).map((member) => member.isReady()));
      const up = await Promise.all(this.of("gateway").map((member) => member.metric("tessera_gateway_routers_up")));
      const linked = await Promise.all(this.of("router").map((member) => member.metric("tessera_router_shards_linked")));
      return ready.every(Boolean) && up.every((count) => count === 2) && linked.every((count) => count === experts);
    }, "all to find each other");
    for (const member of this.members) member.leaving = false;
  }

  async stop() {
    for (const member of this.members) if (member.alive()) member.child.kill("SIGKILL");
    await Promise.all(this.members.map((member) => member.exited));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
