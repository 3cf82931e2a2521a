// The few things all views share.

export function byId(id) {
  return document.getElementById(id);
}

// element("p", { class: "muted", text: "…" }, child, ...): `text` is text, never HTML; the rest are attributes.
export function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// 12345 as 12,345.
const grouping = new Intl.NumberFormat("en");
export function grouped(count) {
  return grouping.format(count);
}

// Touches the page only where something changed: screen readers and the layout notice every write.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Gives a canvas as many pixels as the screen has under it, and a context that counts in CSS pixels.
export function sharpContext(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// A custom property of the page's colours.
export function colorNamed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Calls `draw` when the look of `node` may be another: its size, or light and dark.
export function onLookChange(node, draw) {
  new ResizeObserver(draw).observe(node);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// Runs `task` again and again, `pauseMs` after it ended, and at once when the page is looked at again; never while it is hidden.
export function repeat(task, pauseMs) {
  let timer = null;
  let running = false;
  const run = async () => {
    timer = null;
    if (running || document.hidden) return;
    running = true;
    try {
      await task();
    } finally {
      running = false;
      timer = setTimeout(run, pauseMs);
    }
  };
  const now = () => {
    clearTimeout(timer);
    run();
  };
  document.addEventListener("visibilitychange", now);
  now();
  return now;
}
