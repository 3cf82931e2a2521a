// Chromium on the page. TESSERA_CHROMIUM names the program.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const patience = 60_000; // the box may be busy; nothing waits this long when all is well

export async function startBrowser() {
  return chromium.launch({
    executablePath: process.env.TESSERA_CHROMIUM,
    // Root has no sandbox of Chromium's; a container has little /dev/shm and no GPU.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
    timeout: patience,
  });
}

// A page at `url`. `page.complaints`: errors of scripts and of the content policy, which no test may leave behind.
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    const isExpected = /Failed to load resource/.test(message.text()); // statuses are the tests' own business
    if (message.type() === "error" && !isExpected) page.complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

export async function closePage(page) {
  const { complaints } = page;
  await page.context().close();
  assert.deepEqual(complaints, []);
}

// Kept for people: BUILD/npm/web/screenshots.
export async function shoot(page, name, options = {}) {
  await page.screenshot({ path: `screenshots/${name}.png`, ...options });
}

export async function send(page, text) {
  await page.fill("#prompt", text);
  await page.press("#prompt", "Enter");
}

// Waits until the last answer is complete.
export async function awaitAnswer(page, count = 1) {
  const all = page.locator(".message.assistant[aria-busy=false]");
  await page.waitForFunction((n) => document.querySelectorAll(".message.assistant[aria-busy=false]").length >= n, count);
  return all.nth(count - 1);
}

// The pixels of a canvas, to be compared.
export async function pixelsOf(page, selector) {
  return page.locator(selector).evaluate((canvas) => canvas.toDataURL());
}
