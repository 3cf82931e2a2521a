// Streams that follow each other on a number of lanes until told to stop; each has to say what it said on a quiet cluster.

import assert from "node:assert/strict";
import { until } from "../clients/programs.mjs";
import { stream } from "./sse.mjs";

// What a stream said and how it ended; equal for equal requests.
export function words(end) {
  return { reasoning: end.reasoning, text: end.text, calls: end.calls, finish: end.finish, tokens: end.usage?.completion_tokens };
}

// As a Service does, a stream goes to a gateway that was not told to end; those take turns.
//   request(lane, kind)  its body; `kind` may be changed while it runs, for streams that begin then
//   expected             [kind][lane] of words()
export class Traffic {
  constructor(fleet, { lanes, request, expected, kind = 0 }) {
    Object.assign(this, { fleet, count: lanes, request, expected, kind });
    this.open = new Set(); // {lane, gateway, begun, startedAt}
    this.done = []; // {lane, startedAt, gap}
    this.going = true;
    const running = Array.from({ length: lanes }, (_, lane) => this.#run(lane));
    this.failed = Promise.race(running.map((lane) => lane.then(() => new Promise(() => {})))); // settles only by an error
    this.failed.catch(() => {});
    this.lanes = Promise.allSettled(running);
  }

  async #run(lane) {
    for (let turn = lane; this.going; ++turn) {
      const gateways = this.fleet.of("gateway").filter(({ leaving }) => !leaving);
      const one = { lane, gateway: gateways[turn % gateways.length], begun: false, startedAt: performance.now() };
      const { kind } = this;
      this.open.add(one);
      const end = await stream(one.gateway, this.request(lane, kind), { onEvent: () => (one.begun = true) });
      this.open.delete(one);
      assert.equal(end.error, undefined, `lane ${lane} by ${one.gateway.name}`);
      assert.deepEqual(words(end), this.expected[kind][lane], `lane ${lane}`);
      this.done.push({ ...one, gap: end.gap });
    }
  }

  // A lane that failed is not there any more: that is told at once, not by a wait in vain.
  async until(question, what) {
    const answer = until(question, what);
    answer.catch(() => {});
    return Promise.race([answer, this.failed]);
  }

  // All lanes are in the middle of a stream; so nobody is on the way to a gateway that is told to end now.
  async midway() {
    await this.until(() => this.open.size === this.count && [...this.open].every(({ begun }) => begun), `${this.count} open streams`);
  }

  async stop() {
    this.going = false;
    const settled = await this.lanes;
    assert.deepEqual(settled.filter(({ reason }) => reason).map(({ reason }) => String(reason)), []);
  }
}

// [lane] what each lane says while nothing happens.
export async function quiet(fleet, lanes, request, kind = 0) {
  const gateways = fleet.of("gateway");
  const ends = await Promise.all(Array.from({ length: lanes }, (_, lane) =>
    stream(gateways[lane % gateways.length], request(lane, kind))));
  assert.deepEqual(ends.filter(({ error }) => error), []);
  return ends.map(words);
}
