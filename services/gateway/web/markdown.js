// The part of Markdown that models write, as data: blocks of text, never HTML. What is not understood stays text.
//
//   text --parseBlocks--> [{ kind, source, ... }]      a block's text --parseInline--> [{ kind, text }]

const fence = /^\s{0,3}(```+|~~~+)\s*([\w+#.-]*)[^`]*$/;
const heading = /^(#{1,6})\s+(.*?)\s*#*$/;
const item = /^\s*(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const quote = /^\s{0,3}>\s?(.*)$/;
const rule = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;

function takeCode(lines, at, [, mark, language]) {
  const text = [];
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(mark) && line.trim().replaceAll(mark[0], "") === "";
  for (; end < lines.length && !closes(lines[end]); ++end) text.push(lines[end]);
  return [{ kind: "code", language, text: text.join("\n") }, Math.min(end + 1, lines.length)];
}

function takeList(lines, at, [, number]) {
  const ordered = number !== undefined;
  const items = [];
  let end = at;
  for (; end < lines.length && lines[end].trim() !== ""; ++end) {
    const next = item.exec(lines[end]);
    if (next !== null) {
      if ((next[1] !== undefined) !== ordered && !/^\s/.test(lines[end])) break;
      items.push(next[2]);
    } else {
      if (fence.test(lines[end]) || heading.test(lines[end])) break;
      items[items.length - 1] += `\n${lines[end].trim()}`;
    }
  }
  return [{ kind: "list", ordered, start: ordered ? Number(number) : 1, items }, end];
}

function takeQuote(lines, at) {
  const text = [];
  let end = at;
  for (let found; end < lines.length && (found = quote.exec(lines[end])) !== null; ++end) text.push(found[1]);
  return [{ kind: "quote", text: text.join("\n") }, end];
}

function takeParagraph(lines, at) {
  let end = at + 1;
  const goesOn = (line) => line.trim() !== "" && ![fence, heading, item, quote, rule].some((other) => other.test(line));
  while (end < lines.length && goesOn(lines[end])) ++end;
  return [{ kind: "paragraph", text: lines.slice(at, end).join("\n") }, end];
}

function takeBlock(lines, at) {
  const line = lines[at];
  let found;
  if ((found = fence.exec(line)) !== null) return takeCode(lines, at, found);
  if ((found = heading.exec(line)) !== null) return [{ kind: "heading", level: found[1].length, text: found[2] }, at + 1];
  if (rule.test(line)) return [{ kind: "rule" }, at + 1];
  if ((found = item.exec(line)) !== null) return takeList(lines, at, found);
  if (quote.test(line)) return takeQuote(lines, at);
  return takeParagraph(lines, at);
}

// `source` of a block is its text as it came: two blocks with the same source look the same.
export function parseBlocks(text) {
  const lines = text.split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (lines[at].trim() === "") {
      ++at;
      continue;
    }
    const [block, end] = takeBlock(lines, at);
    blocks.push({ ...block, source: lines.slice(at, end).join("\n") });
    at = end;
  }
  return blocks;
}

const spans = /(`+)(.+?)\1(?!`)|\*\*(?=\S)(.+?\S?)\*\*|(?<![\w*])\*(?=[^\s*])([^*]*[^\s*])\*(?![\w*])/gs;

// Parts of a block's text: text, code, strong, em. They do not nest.
export function parseInline(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(spans)) {
    if (match.index > from) parts.push({ kind: "text", text: text.slice(from, match.index) });
    if (match[2] !== undefined) parts.push({ kind: "code", text: match[2] });
    else if (match[3] !== undefined) parts.push({ kind: "strong", text: match[3] });
    else parts.push({ kind: "em", text: match[4] });
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push({ kind: "text", text: text.slice(from) });
  return parts;
}
