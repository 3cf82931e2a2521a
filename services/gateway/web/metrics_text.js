// Numbers out of Prometheus' text format. No DOM.

// All samples of `name`, with whatever labels, added up; null if there is none.
export function sumOf(text, name) {
  let sum = null;
  for (let at = text.indexOf(name); at !== -1; at = text.indexOf(name, at + 1)) {
    const after = text[at + name.length];
    if ((at > 0 && text[at - 1] !== "\n") || (after !== " " && after !== "{")) continue;
    const end = text.indexOf("\n", at);
    const line = text.slice(at, end === -1 ? undefined : end);
    // Labels may hold blanks and braces: the value stands behind the last brace.
    const value = Number(line.slice(line.lastIndexOf("}") + 1).trim().split(" ").at(after === " " ? 1 : 0));
    if (Number.isFinite(value)) sum = (sum ?? 0) + value;
  }
  return sum;
}

// What a counter grew per second over the last `spanMs`.
export class Rate {
  #spanMs;
  #points = [];
  constructor(spanMs) {
    this.#spanMs = spanMs;
  }
  // Null until there are two points. A counter that fell began anew: its process did.
  push(nowMs, value) {
    if (value === null) return null;
    if (this.#points.length > 0 && value < this.#points.at(-1).value) this.#points = [];
    this.#points.push({ nowMs, value });
    while (this.#points.length > 2 && this.#points[1].nowMs <= nowMs - this.#spanMs) this.#points.shift();
    const first = this.#points[0];
    return nowMs > first.nowMs ? ((value - first.value) * 1000) / (nowMs - first.nowMs) : null;
  }
}
