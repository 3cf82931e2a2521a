// Markdown as data, and where the cells of a heat map are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { roundUp } from "../page/chart.js";
import { paletteOf, ramps, shadeOf } from "../page/color.js";
import { cellAfter, cellAt, layoutOf, pixelsOf, ticksOf } from "../page/heatmap_paint.js";
import { parseBlocks, parseInline } from "../page/markdown.js";

const kindsOf = (text) => parseBlocks(text).map(({ kind }) => kind);

test("blocks", () => {
  const text = "# Title #\nWords\nmore\n\n- one\n- two\n  goes on\n3. three\n\n> said\n> twice\n\n---\n```js\nlet a;\n\n# b\n```\nend";
  const blocks = parseBlocks(text);
  assert.deepEqual(blocks.map(({ kind }) => kind),
    ["heading", "paragraph", "list", "list", "quote", "rule", "code", "paragraph"]);
  assert.deepEqual([blocks[0].level, blocks[0].text], [1, "Title"]);
  assert.equal(blocks[1].text, "Words\nmore");
  assert.deepEqual(blocks[2].items, ["one", "two\ngoes on"]);
  assert.deepEqual([blocks[3].ordered, blocks[3].start], [true, 3]);
  assert.equal(blocks[4].text, "said\ntwice");
  assert.deepEqual([blocks[6].language, blocks[6].text], ["js", "let a;\n\n# b"]);
});

test("every beginning of a text has blocks, and code may be open", () => {
  const text = "a **b** `c`\n\n```\nx\n```\n1. d\n> e\n***\n* f\n~~~py\n";
  for (let end = 0; end <= text.length; ++end) {
    for (const block of parseBlocks(text.slice(0, end))) parseInline(block.text ?? "");
  }
  assert.deepEqual(kindsOf("```\nopen"), ["code"]);
  assert.equal(parseBlocks("````\n```\n````")[0].text, "```");
});

test("what is finished keeps its source while the text grows", () => {
  const before = parseBlocks("One.\n\nTwo");
  const after = parseBlocks("One.\n\nTwo and\n\nthree");
  assert.equal(before[0].source, after[0].source);
  assert.notEqual(before[1].source, after[1].source);
});

test("inline", () => {
  const parts = (text) => parseInline(text).map(({ kind, text: inside }) => `${kind}:${inside}`);
  assert.deepEqual(parts("a **b** c `d*e*` *f*."), ["text:a ", "strong:b", "text: c ", "code:d*e*", "text: ", "em:f", "text:."]);
  assert.deepEqual(parts("2 * 3 * 4, a*b*c, **open, `open"), ["text:2 * 3 * 4, a*b*c, **open, `open"]);
  assert.deepEqual(parts("<b>x</b>"), ["text:<b>x</b>"]);
  assert.deepEqual(parts("``a`b``"), ["code:a`b"]);
  assert.equal(parseInline("x_y ".repeat(3) + "**s** `c`").map(({ text }) => text).join(""), "x_y x_y x_y s c");
});

test("long hostile text takes no long time", () => {
  const start = performance.now();
  for (const piece of ["**a ", "`", "*a", "> ", "- ", "# ", "``` "]) parseBlocks(piece.repeat(5000)).map(({ text }) => parseInline(text ?? ""));
  assert.ok(performance.now() - start < 20_000);
});

test("layouts: 60 layers of 256 experts, two layers of eight", () => {
  const large = layoutOf(546, 60, 256);
  assert.deepEqual([large.left, large.cellWidth, large.cellHeight, large.plotHeight], [34, 2, 5, 300]);
  const small = layoutOf(546, 2, 8);
  assert.deepEqual([small.cellWidth, small.cellHeight], [64, 22]);
  assert.equal(layoutOf(546, 54, 8).plotHeight, 54 * 6);
  assert.deepEqual(cellAt(large, 34, 0), { row: 0, column: 0 });
  assert.deepEqual(cellAt(large, 545, 299), { row: 59, column: 255 });
  for (const [x, y] of [[33, 0], [546, 0], [34, 300], [34, -1]]) assert.equal(cellAt(large, x, y), null);
  assert.deepEqual(layoutOf(10, 0, 0).plotHeight, 0);
});

test("keys walk and stay inside", () => {
  const layout = layoutOf(546, 60, 256);
  const walk = (...keys) => keys.reduce((cell, key) => cellAfter(layout, cell, key), { row: 0, column: 0 });
  assert.deepEqual(walk("ArrowUp", "ArrowLeft"), { row: 0, column: 0 });
  assert.deepEqual(walk("ArrowDown", "ArrowRight"), { row: 1, column: 1 });
  assert.deepEqual(walk("End", "ArrowRight", "PageDown"), { row: 10, column: 255 });
  assert.equal(cellAfter(layout, { row: 0, column: 0 }, "a"), null);
});

test("colours go from idle over the mean to the busiest", () => {
  for (const ramp of Object.values(ramps)) {
    const palette = paletteOf(ramp);
    assert.equal(palette.length, 256);
    assert.ok(palette.flat().every((channel) => Number.isInteger(channel) && channel >= 0 && channel <= 255));
    const pixels = pixelsOf([[0, 1], [1e9, 3]], 2, palette);
    assert.equal(pixels.length, 16);
    assert.deepEqual([...pixels.slice(0, 4)], [...palette[0], 255]);
    assert.deepEqual([...pixels.slice(8, 12)], [...palette[255], 255]);
  }
  assert.deepEqual([0, 1, 3, Infinity].map((times) => shadeOf(times === Infinity ? 1e12 : times)), [0, 128, 191, 255]);
});

test("ticks and scales are round", () => {
  assert.deepEqual(ticksOf(8, 512, 30), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(ticksOf(256, 512, 30).slice(0, 3), [0, 16, 32]);
  assert.deepEqual(ticksOf(3, 1, 30), [0]);
  assert.deepEqual([0, 1, 1.5, 3, 7, 10, 11, 450].map(roundUp), [1, 1, 2, 5, 10, 10, 20, 500]);
});
