// Lines over the last minutes on a canvas.

import { colorNamed, onLookChange, sharpContext } from "./dom.js";

const gutter = 34, foot = 16, head = 6;

// The next "round" number from `value` on: 1, 2, 5, 10, ...
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= value);
}

export class LineChart {
  #points = [];
  #nowMs = 0;

  // lines: [{ key of a point, color: a custom property }]; max: of the scale, or null to follow the values.
  constructor(canvas, { lines, max = null, spanMs }) {
    Object.assign(this, { canvas, lines, max, spanMs });
    onLookChange(canvas, () => this.#draw());
  }

  // points: [{ nowMs, key: number or null }], the oldest first.
  show(points, nowMs) {
    this.#points = points;
    this.#nowMs = nowMs;
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0 || height === 0) return;
    const context = sharpContext(this.canvas, width, height);
    const values = this.#points.flatMap((point) => this.lines.map(({ key }) => point[key] ?? 0));
    const max = this.max ?? roundUp(Math.max(...values, 1));
    const box = { left: gutter, top: head, width: width - gutter - 2, height: height - head - foot, max };
    this.#drawAxes(context, box);
    for (const line of this.lines) this.#drawLine(context, box, line);
  }

  #drawAxes(context, { left, top, width, height, max }) {
    context.font = `11px ${colorNamed("sans")}`;
    context.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(top + height * (1 - share)) + 0.5;
      context.strokeStyle = colorNamed("line");
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(left + width, y);
      context.stroke();
      context.fillStyle = colorNamed("muted");
      context.textAlign = "right";
      context.fillText(String(max * share), left - 6, y);
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.fillText(`${Math.round(this.spanMs / 60_000)} min ago`, left, top + height + 13);
    context.textAlign = "right";
    context.fillText("now", left + width, top + height + 13);
  }

  #drawLine(context, { left, top, width, height, max }, { key, color }) {
    context.strokeStyle = colorNamed(color);
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    let isDown = false;
    for (const point of this.#points) {
      const value = point[key];
      if (value === null || value === undefined) {
        isDown = false;
        continue;
      }
      const x = left + width * (1 - (this.#nowMs - point.nowMs) / this.spanMs);
      const y = top + height * (1 - Math.min(value / max, 1));
      isDown ? context.lineTo(x, y) : context.moveTo(x, y);
      isDown = true;
    }
    context.stroke();
  }
}
