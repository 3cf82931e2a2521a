// The chat in Chromium, before a real gateway whose router's answers are known.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { awaitAnswer, closePage, openPage, send, shoot, startBrowser } from "./browser.mjs";
import { startEchoGateway } from "./programs.mjs";

let browser, gateway;
before(async () => {
  gateway = await startEchoGateway({ config: { text: { reasoning_parser: "qwen3" } } });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call>';
const weather = { type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } };

async function openReady(url, options) {
  const page = await openPage(browser, url, options);
  await page.waitForSelector("#ready[data-state=ready]");
  await page.waitForFunction(() => document.getElementById("model").value !== "");
  return page;
}
async function settle(page, fields) {
  await page.click("#settings-open");
  for (const [id, text] of Object.entries(fields)) await page.fill(`#${id}`, text);
  await page.click("#settings-dialog button.main");
  await page.waitForSelector("#settings-dialog", { state: "hidden" });
}

test("loads, names its model, and comes with its policy", async () => {
  const page = await openReady(gateway.url);
  assert.equal(await page.title(), "Tessera");
  assert.equal(await page.inputValue("#model"), "tiny");
  const response = await page.request.get(gateway.url);
  assert.match(response.headers()["content-security-policy"], /default-src 'none'.*frame-ancestors 'none'/);
  const etag = response.headers().etag;
  assert.equal((await page.request.get(gateway.url, { headers: { "if-none-match": etag } })).status(), 304);
  await closePage(page);
});

test("streams: words are there before the answer is complete; usage when it is", async () => {
  const page = await openReady(gateway.url);
  await gateway.tell("hold 9");
  await send(page, "say: Hello **there**, friend");
  await page.waitForFunction(() => document.querySelector(".streaming .words")?.textContent.startsWith("Hello"));
  assert.ok(await page.isVisible("#stop") && !(await page.isVisible("#send")));
  assert.doesNotMatch(await page.innerText(".words"), /friend/);
  await gateway.tell("release");
  const answer = await awaitAnswer(page);
  assert.equal(await answer.locator(".words").innerText(), "Hello there, friend");
  assert.equal(await answer.locator(".words strong").innerText(), "there");
  assert.match(await answer.locator(".meta").innerText(), /^24 tokens · .*first after \d/);
  assert.equal(await page.locator("#said").textContent(), "The answer is complete.");
  await send(page, "and again");
  assert.equal(await (await awaitAnswer(page, 2)).locator(".words").innerText(), "You said: and again");
  await page.click("#fresh");
  assert.equal(await page.locator(".message").count(), 0);
  await closePage(page);
});

for (const [how, stop] of [["the button", (page) => page.click("#stop")], ["Escape", (page) => page.keyboard.press("Escape")]]) {
  test(`stops by ${how}, and the router hears of it`, async () => {
    const page = await openReady(gateway.url);
    await gateway.tell("hold 5");
    await send(page, "say: a long story");
    await page.waitForFunction(() => document.querySelector(".streaming .words")?.textContent.startsWith("a lo"));
    await stop(page);
    const answer = await awaitAnswer(page);
    assert.match(await answer.locator(".meta").innerText(), /^stopped/);
    assert.match(await answer.locator(".words").innerText(), /^a lo/);
    await gateway.awaitIdle();
    await gateway.tell("release");
    assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
    await closePage(page);
  });
}

test("reasoning is folded and opens", async () => {
  const page = await openReady(gateway.url);
  await send(page, "say: <think>\nwell, well\n</think>\n\ndone");
  const answer = await awaitAnswer(page);
  assert.equal(await answer.locator(".words").innerText(), "done");
  assert.equal(await answer.locator("summary").first().innerText(), "Reasoning, 2 words");
  assert.ok(!(await answer.locator(".thoughts").isVisible()));
  await answer.locator("summary").first().press("Enter");
  assert.equal(await answer.locator(".thoughts").innerText(), "well, well");
  await closePage(page);
});

test("calls of tools are folded, and their results are sent", async () => {
  const page = await openReady(gateway.url);
  await settle(page, { tools: JSON.stringify([weather]) });
  await send(page, `say: ${call}`);
  const answer = await awaitAnswer(page);
  assert.equal(await answer.locator(".tool summary").innerText(), "Tool call weather");
  assert.ok(!(await answer.locator(".tool pre").isVisible()));
  await answer.locator(".tool summary").click();
  assert.deepEqual(JSON.parse(await answer.locator(".tool pre").innerText()), { city: "Zürich" });
  await answer.getByLabel("What the tool answers").fill("sunny");
  await shoot(page, "tool-call");
  await answer.getByRole("button", { name: "Send the results" }).click();
  assert.equal(await (await awaitAnswer(page, 2)).locator(".words").innerText(), "You said: sunny");
  await closePage(page);
});

test("what the model writes is never a part of the page", async () => {
  const page = await openReady(gateway.url);
  await page.evaluate(() => {
    window.marks = 0;
    new MutationObserver(() => { window.marks += document.querySelectorAll("#log :is(img, script, svg, iframe, a, style)").length; })
      .observe(document, { childList: true, subtree: true });
  });
  const evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload=window.hacked=1><a href="javascript:hacked=1">x</a>';
  await settle(page, { tools: JSON.stringify([weather]) });
  await send(page, `say: <think>\n${evil}\n</think>\n\n${evil}\n\n# ${evil}\n- **${evil}**\n> ${evil}\n\n\`\`\`${"js"}\n${evil}\n\`\`\`\n[x](javascript:hacked=1)`);
  const answer = await awaitAnswer(page);
  assert.ok((await answer.locator(".words").innerText()).includes(evil));
  await answer.locator("summary").first().click();
  assert.equal(await answer.locator(".thoughts").innerText(), evil);
  await send(page, `say: <tool_call>\n${JSON.stringify({ name: "weather", arguments: { city: evil } })}\n</tool_call>`);
  const second = await awaitAnswer(page, 2);
  await second.locator(".tool summary").click();
  assert.equal(JSON.parse(await second.locator(".tool pre").innerText()).city, evil);
  assert.deepEqual(await page.evaluate(() => [window.marks, window.hacked ?? null]), [0, null]);
  await closePage(page);
});

test("the keyboard is enough", async () => {
  const page = await openReady(gateway.url);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
  assert.equal(await focused(), "prompt");
  await page.focus(".skip");
  const seen = [];
  for (let i = 0; i < 6; ++i) {
    await page.keyboard.press("Tab");
    seen.push(await focused());
  }
  assert.deepEqual(seen, ["model", "fresh", "settings-open", "scroller", "prompt", "send"]);
  await page.focus("#settings-open");
  await page.keyboard.press("Enter");
  await page.fill("#temperature", "hot");
  await page.keyboard.press("Enter");
  assert.match(await page.innerText("#settings-problem"), /from 0 to 2/);
  await page.fill("#temperature", "0");
  await page.fill("#max-tokens", "12");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "settings-open");
  await page.keyboard.press("Enter");
  assert.equal(await page.inputValue("#max-tokens"), "12");
  await page.keyboard.press("Escape");
  assert.equal(await focused(), "settings-open");
  await page.focus("#prompt");
  await page.keyboard.type("say: one");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("two three four");
  await page.keyboard.press("Enter");
  const answer = await awaitAnswer(page);
  assert.equal(await answer.locator(".words").innerText(), "one\ntwo thre"); // twelve tokens of a byte each
  assert.match(await answer.locator(".meta").innerText(), /^cut at the limit of tokens · 12 tokens/);
  await closePage(page);
});

test("everything that can be used has a name", async () => {
  const page = await openReady(gateway.url);
  const nameless = await page.evaluate(() => {
    const nameOf = (node) => node.getAttribute("aria-label") ?? node.labels?.[0]?.textContent ?? node.textContent;
    return [...document.querySelectorAll("button, a, input, select, textarea, summary, [tabindex], [role=img], meter")]
      .filter((node) => nameOf(node).trim() === "").map((node) => node.outerHTML);
  });
  assert.deepEqual(nameless, []);
  for (const name of ["Send", "New chat", "Settings"]) assert.ok(await page.getByRole("button", { name, exact: true }).isVisible(), name);
  for (const name of ["Message", "Model"]) assert.ok(await page.getByLabel(name, { exact: true }).isVisible(), name);
  await closePage(page);
});

test("an error is said in the server's words, and tried again", async () => {
  const page = await openReady(gateway.url);
  await send(page, "x".repeat(5000));
  const answer = await awaitAnswer(page);
  assert.match(await answer.locator(".error").innerText(), /4096/);
  await settle(page, { "max-tokens": "999999" });
  await send(page, "Hi");
  await awaitAnswer(page, 2);
  await settle(page, { "max-tokens": "" });
  await page.click("#fresh");
  await gateway.tell("die");
  await page.waitForSelector("#ready[data-state=waiting]");
  await gateway.tell("revive");
  await page.waitForSelector("#ready[data-state=ready]");
  await send(page, "Hi");
  assert.equal(await (await awaitAnswer(page)).locator(".words").innerText(), "You said: Hi");
  await closePage(page);
});

test("a gateway with keys: asked for, refused, kept for the tab, enough for a chat", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "tessera-web-"));
  const hash = (secret) => createHash("sha256").update(secret).digest("hex");
  writeFileSync(path.join(folder, "keys.json"), JSON.stringify({ keys: [{ name: "user", sha256: hash("secret") }] }));
  const guarded = await startEchoGateway({ config: { keys_file: path.join(folder, "keys.json") } });
  try {
    const page = await openPage(browser, guarded.url);
    await page.waitForSelector("#key-dialog[open]");
    await page.fill("#key", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /not known/.test(document.getElementById("key-why").textContent));
    await page.fill("#key", "secret");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.getElementById("model").value === "tiny");
    await page.waitForFunction(() => /admin key/.test(document.getElementById("notice").textContent));
    await send(page, "Hi");
    assert.equal(await (await awaitAnswer(page)).locator(".words").innerText(), "You said: Hi");
    await page.reload();
    await page.waitForFunction(() => document.getElementById("model").value === "tiny");
    assert.ok(!(await page.locator("#key-dialog").isVisible()));
    await closePage(page);
  } finally {
    await guarded.stop();
    rmSync(folder, { recursive: true });
  }
});
