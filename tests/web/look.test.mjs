// How the page looks: a large cluster, a phone, light and dark, what is missing; before a gateway that says what it is told.

import assert from "node:assert/strict";
import path from "node:path";
import { after, before, test } from "node:test";
import { awaitAnswer, closePage, openPage, pixelsOf, send, shoot, startBrowser } from "./browser.mjs";
import { FakeGateway, largeLoad } from "./fake_gateway.mjs";

let browser, gateway;
before(async () => {
  gateway = await new FakeGateway(path.join(process.env.TESSERA_SOURCES, "services/gateway/web")).start();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

async function awaitPicture(page) {
  await page.waitForFunction(() => document.querySelectorAll(".shard[data-state=live]").length === 8);
}
async function awaitChange(page, selector, before) {
  await page.waitForFunction(([where, old]) => document.querySelector(where).toDataURL() !== old, [selector, before]);
}
// Nothing is wider than the window.
async function assertFits(page) {
  const { scroll, width } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, width: innerWidth }));
  assert.ok(scroll <= width, `${scroll} > ${width}`);
}

for (const colorScheme of ["light", "dark"]) {
  test(`a large cluster, ${colorScheme}`, async () => {
    gateway.load = largeLoad(1);
    const page = await openPage(browser, gateway.url, { colorScheme });
    await awaitPicture(page);
    const first = await pixelsOf(page, "#experts-map");
    await send(page, "What is a mixture of experts?");
    const answer = await awaitAnswer(page);
    assert.equal(await answer.locator("li").count(), 3);
    assert.match(await answer.locator("pre").innerText(), /AddRows\(part, sum\)/);
    for (let seed = 2; seed < 5; ++seed) {
      const old = await pixelsOf(page, "#experts-map");
      gateway.load = largeLoad(seed);
      await awaitChange(page, "#experts-map", old);
    }
    assert.notEqual(await pixelsOf(page, "#experts-map"), first);
    await page.waitForFunction(() => Number(document.getElementById("figure-tokens").textContent) > 0);
    assert.equal(await page.innerText("#figure-requests"), "3"); // of both routers
    assert.equal(await page.innerText("#figure-shards"), "8 / 8");
    assert.match(await page.innerText("#experts-cell"), /^Busiest: layer \d+, expert \d+, \d+\.\d × the mean/);
    const isDark = await page.evaluate(() => {
      const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
      return r + g + b < 3 * 128;
    });
    assert.equal(isDark, colorScheme === "dark");
    await assertFits(page);
    await shoot(page, `desktop-${colorScheme}`);
    await page.setViewportSize({ width: 1360, height: 1330 });
    await page.waitForFunction(() => document.getElementById("experts-map").width === document.getElementById("experts-map").clientWidth);
    await shoot(page, `tall-${colorScheme}`);
    await closePage(page);
  });
}

test("light turns dark while one looks", async () => {
  const page = await openPage(browser, gateway.url, { colorScheme: "light" });
  await awaitPicture(page);
  const light = await pixelsOf(page, "#experts-map");
  await page.emulateMedia({ colorScheme: "dark" });
  await awaitChange(page, "#experts-map", light);
  await closePage(page);
});

test("a phone: one half at a time, nothing too wide, fingers find the buttons", async () => {
  gateway.load = largeLoad(1);
  gateway.loadsAsked = 0;
  const page = await openPage(browser, gateway.url, {
    viewport: { width: 360, height: 740 }, deviceScaleFactor: 3, isMobile: true, hasTouch: true });
  await page.waitForSelector("#ready[data-state=ready]");
  assert.ok(await page.isVisible("#chat") && !(await page.isVisible("#cluster")));
  await page.tap("#prompt");
  await page.fill("#prompt", "What is a mixture of experts?");
  await page.tap("#send");
  await awaitAnswer(page);
  await assertFits(page);
  await shoot(page, "phone-chat");
  assert.equal(gateway.loadsAsked, 0); // nobody looks at the picture
  await page.tap("#view-cluster");
  assert.ok(!(await page.isVisible("#chat")));
  await awaitPicture(page);
  await page.waitForFunction(() => document.getElementById("experts-map").width > 900);
  await assertFits(page);
  for (const selector of ["#view-chat", "#view-cluster", "#settings-open", "#fresh"]) {
    const { height } = await page.locator(selector).boundingBox();
    assert.ok(height >= 36, `${selector}: ${height}`);
  }
  await shoot(page, "phone-cluster");
  await page.locator("#balance-title").scrollIntoViewIfNeeded();
  await assertFits(page);
  await shoot(page, "phone-maps");
  await closePage(page);
});

test("the arrow keys walk through the map, and what they find is said", async () => {
  gateway.load = largeLoad(1);
  const page = await openPage(browser, gateway.url);
  await awaitPicture(page);
  await page.focus("#experts-map");
  for (const key of ["ArrowDown", "ArrowRight", "ArrowRight"]) await page.press("#experts-map", key);
  const { layer, rows } = gateway.load.layers[1];
  const said = await page.innerText("#experts-cell");
  assert.ok(said.startsWith(`Layer ${layer}, expert 2: ${rows[2]} rows, `), said);
  await page.press("#experts-map", "End");
  assert.match(await page.innerText("#experts-cell"), /expert 255:/);
  await page.focus("#shards-map");
  assert.match(await page.innerText("#shards-cell"), /^Layer 6, expert-0 \(live\): \d+ rows/);
  await page.locator("#experts-map").hover({ position: { x: 36, y: 2 } });
  assert.match(await page.innerText("#experts-cell"), /^Layer 6, expert 0:/);
  await page.click("#layers summary");
  await page.locator("#layer-rows tr").last().waitFor();
  assert.equal(await page.locator("#layer-rows tr").count(), 54);
  await closePage(page);
});

test("a shard that is lost turns red; one that loads does not, and one that drained leaves", async () => {
  gateway.load = largeLoad(1);
  const page = await openPage(browser, gateway.url);
  await awaitPicture(page);
  const lossy = largeLoad(1);
  lossy.shards[2].state = "lost";
  lossy.shards[3].state = "loading";
  lossy.shards[4].id = lossy.shards[4].state = '<img src=x onerror="window.hacked=1">';
  lossy.shards.splice(7, 1);
  gateway.load = lossy;
  for (const [id, state] of [["expert-2", "lost"], ["expert-3", "changing"]]) {
    await page.waitForSelector(`.shard[data-id=${id}][data-state=${state}]`);
  }
  await page.waitForSelector(".shard[data-id=expert-7]", { state: "detached" });
  assert.equal(await page.innerText("#figure-shards"), "4 / 7"); // with one whose id and state are nonsense
  assert.equal(await page.locator("#shards img").count(), 0);
  assert.match(await page.locator("#shards-said").textContent(), /expert-2 is lost/);
  const [red, green, blue] = (await page.locator(".shard[data-id=expert-2]").evaluate((card) => getComputedStyle(card).backgroundColor))
    .match(/\d+/g).map(Number);
  assert.ok(red > 2 * green && red > 2 * blue, `${red} ${green} ${blue}`);
  await shoot(page, "lost-shard");
  gateway.load = largeLoad(1);
  await awaitPicture(page);
  assert.equal(await page.evaluate(() => window.hacked ?? null), null);
  await closePage(page);
});

test("what a gateway does not tell is not shown, and said", async () => {
  gateway.load = largeLoad(1, { layerRows: false });
  const page = await openPage(browser, gateway.url);
  await awaitPicture(page);
  assert.ok(await page.isVisible("#shards-map-absent") && !(await page.isVisible("#shards-map")));
  const notices = { 404: "does not tell the load", 403: "admin key", 500: "no load" };
  for (const [status, words] of Object.entries(notices)) {
    gateway.loadStatus = Number(status);
    await page.waitForFunction((text) => document.getElementById("notice").textContent.includes(text), words);
  }
  assert.ok(Number(await page.locator(".of-load").first().evaluate((part) => getComputedStyle(part).opacity)) < 1); // what is shown is old
  gateway.loadStatus = 200;
  gateway.load = { layers: "none" };
  await page.waitForFunction(() => document.getElementById("notice").textContent.includes("no layers"));
  gateway.load = { window_seconds: 10, layers: [], shards: [] };
  await page.waitForSelector("#notice", { state: "hidden" });
  assert.equal(await page.innerText("#experts-cell"), "Nothing was computed lately.");
  await closePage(page);
});
