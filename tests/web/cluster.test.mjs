// The picture of a real cluster: `tessera up` on a tiny model, under load, and while one of its shards is killed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { awaitAnswer, closePage, openPage, pixelsOf, send, shoot, startBrowser } from "./browser.mjs";
import { startCluster, until } from "./programs.mjs";

const seenWithinMs = 2000; // what the page promises of a lost shard

let browser, cluster, page;
before(async () => {
  cluster = await startCluster({ shards: 2, flags: ["--replicas=2"] });
  browser = await startBrowser();
  page = await openPage(browser, cluster.url);
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

function generate(prompt) {
  return fetch(`${cluster.url}/v1/completions`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", prompt, max_tokens: 60, ignore_eos: true, temperature: 1 }) });
}
const liveCards = () => page.locator(".shard[data-state=live]").count();

test("all shards are live", async () => {
  await until(async () => (await liveCards()) === 2, "two live shards");
  assert.equal(await page.innerText("#figure-shards"), "2 / 2");
});

test("a chat streams from a model", async () => {
  await page.click("#settings-open");
  await page.fill("#max-tokens", "40");
  await page.keyboard.press("Enter");
  await send(page, "Hi");
  const answer = await awaitAnswer(page);
  assert.match(await answer.locator(".meta").innerText(), /\d+ tokens?/);
  assert.equal(await answer.locator(".error").isVisible(), false);
});

test("the heat map, the balance and the figures follow the load", async () => {
  const before = await pixelsOf(page, "#experts-map");
  await Promise.all(["abc", "zzzz", "12"].map(generate));
  await until(async () => (await pixelsOf(page, "#experts-map")) !== before, "another heat map");
  await until(async () => Number(await page.innerText("#figure-balance")) > 0, "a balance");
  assert.match(await page.innerText("#experts-cell"), /^Busiest: layer \d+, expert \d+/);
});

test("a killed shard turns red within two seconds and recovers", async (t) => {
  const { id, pid } = cluster.processes().find(({ role }) => role === "expert");
  // Timed in the page, from before the kill to the frame that is red: the test's own polling is no part of it.
  await page.evaluate(() => {
    window.red = new Promise((resolve) => {
      const begin = performance.now();
      const watch = () => {
        const lost = document.querySelector(".shard[data-state=lost]");
        if (lost === null && performance.now() - begin < 60_000) return requestAnimationFrame(watch);
        if (lost === null) return resolve(null);
        resolve({ id: lost.dataset.id, ms: performance.now() - begin, color: getComputedStyle(lost).backgroundColor });
      };
      watch();
    });
  });
  cluster.child.kill("SIGSTOP"); // `tessera up`, which starts it again sooner than the page asks
  t.after(() => cluster.child.kill("SIGCONT"));
  process.kill(pid, "SIGKILL");
  const seen = await page.evaluate(() => window.red);
  assert.ok(seen !== null, "never red");
  assert.equal(seen.id, id);
  const [r, g, b] = seen.color.match(/\d+/g).map(Number);
  assert.ok(r > 2 * g && r > 2 * b, seen.color);
  console.log(`red after ${Math.round(seen.ms)} ms`);
  assert.ok(seen.ms <= seenWithinMs, `${seen.ms} ms`);
  await shoot(page, "killed-shard");
  cluster.child.kill("SIGCONT");
  await until(async () => (await liveCards()) === 2, "the shard's return");
  assert.notEqual(cluster.process(id).pid, pid);
  await closePage(page);
});
