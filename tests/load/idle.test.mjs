// What a cluster costs that does nothing. With TESSERA_LOAD=full the limit of a release holds; other runs share the machine with
// other tests, and only a loop that spins is noticed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { startCluster } from "../clients/programs.mjs";

const full = process.env.TESSERA_LOAD === "full";
const seconds = full ? 20 : 5;
const limit = full ? 0.01 : 0.05; // of a core, the three together
const ticks = 100; // a second: USER_HZ of proc(5)

function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticks;
}

test("gateway, router and shard idle together", async () => {
  const cluster = await startCluster({ shards: 1 });
  try {
    const answer = await fetch(`${cluster.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "tiny", prompt: "Hi", max_tokens: 8, ignore_eos: true }),
    });
    assert.equal(answer.status, 200);
    await answer.text();
    await cluster.awaitIdle();
    const processes = cluster.processes();
    const used = () => processes.map(({ pid }) => cpuSeconds(pid));
    const before = used();
    const start = process.hrtime.bigint();
    // Not to wait for something, but the thing that is measured.
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const passed = Number(process.hrtime.bigint() - start) / 1e9;
    const shares = used().map((now, i) => (now - before[i]) / passed);
    const sum = shares.reduce((a, b) => a + b);
    console.log(processes.map(({ id }, i) => `${id} ${(shares[i] * 100).toFixed(2)} %`).join(", "),
      `together ${(sum * 100).toFixed(2)} % of a core`);
    assert.ok(sum < limit, `idle services use ${(sum * 100).toFixed(2)} % of a core`);
  } finally {
    await cluster.stop();
  }
});
