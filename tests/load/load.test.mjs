// Many at once. TESSERA_LOAD=full takes the numbers that a release is held to, otherwise a short version runs.

import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { metric, residentBytes, startCluster, startEchoGateway, until } from "../clients/programs.mjs";
import { percentile, stream, summary } from "./sse.mjs";

const full = process.env.TESSERA_LOAD === "full";
const streams = full ? 500 : 100;
const idle = full ? 2000 : 300;
const MiB = 1 << 20;

function hi(seed) {
  return { model: "tiny", messages: [{ role: "user", content: `Hi ${seed}` }], seed, temperature: 1 };
}
function say(text) {
  return { model: "tiny", messages: [{ role: "user", content: `say: ${text}` }] };
}
function mebibytes(bytes) {
  return `${(bytes / MiB).toFixed(1)} MiB`;
}

describe("a cluster on a tiny model", () => {
  let cluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(() => cluster?.stop());

  test(`${streams} streams at once: no error, and memory is given back`, async () => {
    const agent = new http.Agent({ keepAlive: false, maxSockets: Infinity });
    const resident = [];
    for (let round = 0; round < 4; ++round) {
      const ends = await Promise.all(Array.from({ length: streams }, (_, seed) =>
        stream(cluster, { ...hi(seed), max_tokens: 24, ignore_eos: true }, { agent })));
      console.log(summary(ends));
      for (const end of ends) {
        assert.equal(end.error, undefined);
        assert.equal(end.usage.completion_tokens, 24);
        assert.deepEqual(end.finish, ["length"]);
      }
      await cluster.awaitIdle();
      resident.push(residentBytes(cluster.gatewayPid));
    }
    console.log(`gateway's memory after each round: ${resident.map(mebibytes).join(", ")}`);
    assert.ok(resident[3] < resident[1] + 4 * MiB, "memory grows from round to round");
    await until(async () => (await cluster.sumOf("router", "tessera_router_sequences_running")) === 0, "an idle router");
  });
});

describe("a gateway before a router that answers at once", () => {
  let server;
  before(async () => {
    server = await startEchoGateway();
  });
  after(() => server?.stop());

  test(`${idle} idle connections`, async () => {
    const [hostname, port] = server.http.split(":");
    const request = `GET /livez HTTP/1.1\r\nHost: ${server.http}\r\n\r\n`;
    const beforeThem = residentBytes(server.gatewayPid);
    const sockets = await Promise.all(Array.from({ length: idle }, async () => {
      const socket = net.connect(Number(port), hostname);
      await once(socket, "connect");
      return socket;
    }));
    const askAll = () => Promise.all(sockets.map(async (socket) => {
      socket.write(request);
      const [reply] = await once(socket, "data");
      assert.match(String(reply), /^HTTP\/1.1 200 /);
    }));
    await askAll();
    const each = (residentBytes(server.gatewayPid) - beforeThem) / idle;
    console.log(`memory of an idle connection: ${(each / 1024).toFixed(1)} KiB`);
    const end = await stream(server, say("abc"));
    assert.equal(end.text, "abc");
    await askAll();
    for (const socket of sockets) socket.destroy();
    assert.ok(each < 64 * 1024);
  });

  test("32 streams: the gateway's part of the time to the first token", async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
    const rounds = full ? 40 : 10;
    const paced = async (index) => {
      const ends = [];
      for (let round = 0; round < rounds; ++round) {
        await new Promise((resolve) => setTimeout(resolve, round === 0 ? index * 5 : 150));
        ends.push(await stream(server, say("a few words to repeat, and some more"), { agent }));
      }
      return ends;
    };
    await paced(0);
    const ends = (await Promise.all(Array.from({ length: 32 }, (_, index) => paced(index)))).flat();
    agent.destroy();
    console.log(summary(ends));
    assert.ok(ends.every((end) => end.error === undefined));
    const atClient = percentile(ends.map((end) => end.first), 0.5);
    const own = ends.map((end) => end.timings.ttft_ms);
    const p50 = percentile(own, 0.5);
    const mean = own.reduce((a, b) => a + b, 0) / own.length;
    console.log(`time to first token: p50 ${atClient.toFixed(2)} ms at the client; by the gateway's own clock ` +
      `p50 ${p50.toFixed(2)} ms, mean ${mean.toFixed(2)} ms`);
    // The client's own share is not the gateway's. A figure for a machine that does nothing else.
    if (full) assert.ok(p50 <= 2, `${p50} ms`);
  });

  test("slow readers slow nobody else, and are cut off", async () => {
    const slowReaders = async () => metric(await server.metrics(), "tessera_gateway_slow_readers_total");
    assert.equal(await slowReaders(), 0);
    const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
    const fast = async () => {
      const ends = [];
      for (let round = 0; round < 10; ++round) {
        ends.push(...(await Promise.all(Array.from({ length: 8 }, () => stream(server, say("quick"), { agent })))));
      }
      assert.ok(ends.every((end) => end.text === "quick"), ends.find((end) => end.error)?.error);
      return percentile(ends.map((end) => end.total), 0.5);
    };
    await fast();
    const alone = await fast();
    const [hostname, port] = server.http.split(":");
    const slow = [];
    // A stream of some 1.8 MB for each choice, of which nobody reads anything.
    const neglect = (n) => {
      const body = JSON.stringify({ ...say("x".repeat(1800)), n, stream: true, logprobs: true, top_logprobs: 20 });
      for (let i = 0; i < 4; ++i) {
        const socket = net.connect(Number(port), hostname);
        socket.on("error", () => {});
        socket.pause();
        socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\n\r\n${body}`);
        slow.push(socket);
      }
    };
    const finished = async () => metric(await server.metrics(), "tessera_request_success_total");
    const already = await finished();
    neglect(4);
    await until(async () => (await finished()) === already + 16, "the neglected streams to be written");
    const beside = await fast();
    console.log(`median of a short stream: ${alone.toFixed(1)} ms alone, ${beside.toFixed(1)} ms beside slow readers`);
    assert.equal(await slowReaders(), 0, "what fits into a connection's buffer is kept");
    neglect(12);
    await until(async () => (await slowReaders()) >= 4, "slow readers to be cut off");
    for (const socket of slow) socket.destroy();
    await server.awaitIdle();
    assert.ok(beside < 5 * alone + 20);
    agent.destroy();
  });
});
