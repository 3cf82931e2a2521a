// Processes killed under 32 streams: the clients shall not notice, but for a pause. What each stream says is compared
// with a run in which nothing happened. TESSERA_LOAD=full holds the pause to the time that a release promises.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { metric, startCluster, until } from "../clients/programs.mjs";
import { percentile, stream, summary } from "./sse.mjs";

const full = process.env.TESSERA_LOAD === "full";
const resumeMs = full ? 2_000 : 20_000; // from the restarted router's readiness to the slowest stream's next token
const count = 32;
const tokens = 300;

// All streams at once; `onToken` is called with how many pieces have come to the slowest of them.
async function run(cluster, onPiece, headers = {}) {
  const pieces = new Array(count).fill(0);
  const ends = await Promise.all(pieces.map((_, i) =>
    stream(cluster,
      { model: "tiny", messages: [{ role: "user", content: `Tell me ${i}` }], seed: i, temperature: 0.8,
        max_tokens: tokens, ignore_eos: true },
      { headers, onText: () => { ++pieces[i]; onPiece?.(Math.min(...pieces)); } })));
  return ends;
}

// Kills a process once every stream has begun. Resolves with the streams' ends, and when its next life was ready.
async function runWithout(cluster, id) {
  const { pid } = cluster.process(id);
  let ready;
  const ends = await run(cluster, (slowest) => {
    if (ready !== undefined || slowest < 5) return;
    process.kill(pid, "SIGKILL");
    ready = readyAgain(cluster, id, pid);
  });
  assert.ok(ready !== undefined, "the streams were over too soon");
  const readyAt = await ready;
  await cluster.awaitReady();
  return { ends, readyAt };
}

async function readyAgain(cluster, id, pid) {
  await until(async () => {
    const next = cluster.process(id);
    return ![0, undefined, pid].includes(next?.pid) && (await fetch(`http://${next.admin}/readyz`)).status === 200;
  }, `${id} to be ready again`);
  return performance.now();
}

function compare(ends, undisturbed) {
  for (const [i, end] of ends.entries()) {
    assert.equal(end.error, undefined, `stream ${i}`);
    assert.equal(end.text, undisturbed[i].text, `stream ${i}`);
    assert.equal(end.usage.completion_tokens, tokens);
    assert.deepEqual(end.finish, ["length"]);
  }
}

for (const replicas of [2, 1]) {
  describe(`every expert ${replicas === 1 ? "once" : "twice"}`, () => {
    let cluster, undisturbed;
    before(async () => {
      cluster = await startCluster({ flags: [`--replicas=${replicas}`, "--strict"] });
      undisturbed = await run(cluster);
      console.log(`undisturbed: ${summary(undisturbed)}`);
    });
    after(() => cluster?.stop());

    test("the same seeds say the same", async () => compare(await run(cluster), undisturbed));

    test("a shard is killed", async () => {
      const { ends } = await runWithout(cluster, "expert-1");
      console.log(`a shard killed: ${summary(ends)}`);
      compare(ends, undisturbed);
    });

    test("the router is killed", async () => {
      const { ends, readyAt } = await runWithout(cluster, "router-0");
      // From then on: the longest gap of a stream may be one that a busy machine made later.
      const pauses = ends.map(({ pieces }) => (pieces.find((at) => at >= readyAt) ?? readyAt) - readyAt);
      console.log(`the router killed: ${summary(ends)}; streams went on ${percentile(pauses, 0.5).toFixed(0)} ms (median), ` +
        `${Math.max(...pauses).toFixed(0)} ms (slowest) after it was ready again`);
      compare(ends, undisturbed);
      assert.ok(Math.max(...pauses) <= resumeMs, `${Math.max(...pauses)} ms`);
      assert.equal(metric(await cluster.metrics(), "tessera_num_requests_running"), 0);
    });

    if (replicas === 2) return;
    test("the router does not come back in time", async () => {
      const { pid } = cluster.process("router-0");
      let killed = false;
      const ends = await run(cluster, (slowest) => {
        if (killed || slowest < 5) return;
        killed = true;
        cluster.child.kill("SIGSTOP"); // who would start it again
        process.kill(pid, "SIGKILL");
      }, { "x-request-timeout": "10" });
      cluster.child.kill("SIGCONT");
      assert.ok(killed, "the streams were over too soon");
      for (const [i, end] of ends.entries()) {
        assert.equal(JSON.parse(end.error).code, "deadline_exceeded", end.error);
        assert.equal(undisturbed[i].text.startsWith(end.text), true, `stream ${i}`);
        assert.ok(end.total >= 10_000, `${end.total} ms`);
      }
      await readyAgain(cluster, "router-0", pid);
      await cluster.awaitReady();
      compare(await run(cluster), undisturbed);
    });
  });
}
