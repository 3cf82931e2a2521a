// What a cluster costs that does nothing: its wake-ups, as hardly anything is done in them. How many there are is the same on a
// fast machine and a slow one, and is held always. What they cost is not: with TESSERA_LOAD=full the limit of a release holds;
// other runs share the machine with other tests, and only a loop that spins is noticed.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { test } from "node:test";
import { startCluster } from "../clients/programs.mjs";

const full = process.env.TESSERA_LOAD === "full";
const seconds = full ? 20 : 5;
const limit = full ? 0.01 : 0.05; // of a core, the three together
// A second, the three together. About 40 are those of gRPC's threads; of one kind it has half as many in each process as there
// are processors, from 2 to 16, and each wakes up twice a second.
const wakesMax = 90 + 3 * 2 * (Math.min(16, Math.max(2, cpus().length / 2)) - 2);
const ticks = 100; // a second: USER_HZ of proc(5)

function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticks;
}

// Of all threads so far; those that ended are few.
function wakeUps(pid) {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    sum += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)[1]);
  }
  return sum;
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
    const used = () => processes.map(({ pid }) => ({ cpu: cpuSeconds(pid), wakes: wakeUps(pid) }));
    const before = used();
    const start = process.hrtime.bigint();
    // Not to wait for something, but the thing that is measured.
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const passed = Number(process.hrtime.bigint() - start) / 1e9;
    const rates = used().map((now, i) => ({ cpu: (now.cpu - before[i].cpu) / passed, wakes: (now.wakes - before[i].wakes) / passed }));
    const sum = rates.reduce((a, b) => ({ cpu: a.cpu + b.cpu, wakes: a.wakes + b.wakes }));
    const say = ({ cpu, wakes }) => `${(cpu * 100).toFixed(2)} % of a core, ${wakes.toFixed(0)} wake-ups a second`;
    processes.forEach(({ id }, i) => console.log(`${id}: ${say(rates[i])}`));
    console.log(`together: ${say(sum)}; load ${loadavg()[0].toFixed(1)}`);
    assert.ok(sum.cpu < limit, `idle services use ${say(sum)}`);
    assert.ok(sum.wakes < wakesMax, `idle services use ${say(sum)}`);
  } finally {
    await cluster.stop();
  }
});
