// Blocks of markdown.js as elements. Text goes in as text: what looks like HTML is shown as it was written.

import { element } from "./dom.js";
import { parseBlocks, parseInline } from "./markdown.js";

function inline(node, text) {
  for (const part of parseInline(text)) {
    node.append(part.kind === "text" ? part.text : element(part.kind, { text: part.text }));
  }
  return node;
}

function listOf({ ordered, start, items }) {
  const list = element(ordered ? "ol" : "ul", ordered && start !== 1 ? { start } : {});
  for (const item of items) list.append(inline(element("li"), item));
  return list;
}

function elementOf(block) {
  switch (block.kind) {
    case "code":
      return element("pre", { tabindex: 0, role: "group", "aria-label": block.language ? `Code, ${block.language}` : "Code" },
        element("code", { text: block.text }));
    case "heading": return inline(element(`h${Math.min(block.level + 2, 5)}`), block.text);
    case "rule": return element("hr");
    case "list": return listOf(block);
    case "quote": return inline(element("blockquote"), block.text);
    default: return inline(element("p"), block.text);
  }
}

// A text that grows. Only blocks that changed are made anew, so a long answer stays cheap and a selection in it stays.
export class MarkdownView {
  #sources = [];
  constructor() {
    this.node = element("div", { class: "words" });
  }
  show(text) {
    const blocks = parseBlocks(text);
    let same = 0;
    while (same < blocks.length && this.#sources[same] === blocks[same].source) ++same;
    while (this.node.childNodes.length > same) this.node.lastChild.remove();
    this.node.append(...blocks.slice(same).map(elementOf));
    this.#sources = blocks.map(({ source }) => source);
  }
}
