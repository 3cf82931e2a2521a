// Processes killed under 32 streams: the clients shall not notice, but for a pause. What each stream says is compared
// with a run in which nothing happened.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { metric, startCluster, until } from "../clients/programs.mjs";
import { stream, summary } from "./sse.mjs";

const count = 32;
const tokens = 300;

// All streams at once; `onToken` is called with how many pieces have come to the slowest of them.
async function run(cluster, onPiece) {
  const pieces = new Array(count).fill(0);
  const ends = await Promise.all(pieces.map((_, i) =>
    stream(cluster,
      { model: "tiny", messages: [{ role: "user", content: `Tell me ${i}` }], seed: i, temperature: 0.8,
        max_tokens: tokens, ignore_eos: true },
      { onText: () => { ++pieces[i]; onPiece?.(Math.min(...pieces)); } })));
  return ends;
}

// Kills a process once every stream has begun; resolves with the streams' ends.
async function runWithout(cluster, id) {
  const { pid } = cluster.process(id);
  let killed = false;
  const ends = await run(cluster, (slowest) => {
    if (killed || slowest < 5) return;
    killed = true;
    process.kill(pid, "SIGKILL");
  });
  assert.ok(killed, "the streams were over too soon");
  await until(() => ![0, undefined, pid].includes(cluster.process(id)?.pid), `${id} to be started again`);
  await cluster.awaitReady();
  return ends;
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
      const ends = await runWithout(cluster, "expert-1");
      console.log(`a shard killed: ${summary(ends)}`);
      compare(ends, undisturbed);
    });

    test("the router is killed", async () => {
      const ends = await runWithout(cluster, "router-0");
      console.log(`the router killed: ${summary(ends)}`);
      compare(ends, undisturbed);
      assert.equal(metric(await cluster.metrics(), "tessera_num_requests_running"), 0);
    });
  });
}
