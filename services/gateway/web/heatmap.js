// A heat map on a canvas: rows are layers, columns are experts or shards. The pointer and the arrow keys walk through its cells.

import { paletteOf, ramps } from "./color.js";
import { colorNamed, isDark, onLookChange, say, sharpContext } from "./dom.js";
import { cellAfter, cellAt, layoutOf, pixelsOf, ticksOf } from "./heatmap_paint.js";

const gridFromPx = 8; // narrower cells have no lines between them

export class HeatMap {
  #map = null;
  #layout = null;
  #cursor = null; // where the keyboard is
  #pointer = null;
  #image = document.createElement("canvas"); // one pixel a cell

  // `output` says what is in the cell that is looked at.
  constructor(canvas, output) {
    this.canvas = canvas;
    this.output = output;
    onLookChange(canvas, () => this.#draw());
    canvas.addEventListener("pointermove", (event) => {
      this.#pointer = this.#layout && cellAt(this.#layout, event.offsetX, event.offsetY);
      this.#draw();
    });
    canvas.addEventListener("pointerleave", () => {
      this.#pointer = null;
      this.#draw();
    });
    canvas.addEventListener("focus", () => {
      this.#cursor ??= { row: 0, column: 0 };
      this.#draw();
    });
    canvas.addEventListener("blur", () => this.#draw());
    canvas.addEventListener("keydown", (event) => {
      const next = this.#layout && this.#cursor && cellAfter(this.#layout, this.#cursor, event.key);
      if (!next) return;
      event.preventDefault();
      this.#cursor = next;
      this.#draw();
    });
  }

  // map: lines [rows][columns] in times of their mean; rowLabels; columnLabels or null for their numbers;
  // marks: indexes of columns that are lost; tell(row, column) and summary: words.
  show(map) {
    this.#map = map;
    this.#draw();
  }

  #draw() {
    const width = this.canvas.clientWidth;
    if (this.#map === null || width === 0) return;
    const { lines } = this.#map;
    const columnCount = lines[0]?.length ?? 0;
    this.#layout = layoutOf(width, lines.length, columnCount);
    if (lines.length === 0 || columnCount === 0) return say(this.output, this.#map.summary);
    this.canvas.style.height = `${this.#layout.height}px`;
    const context = sharpContext(this.canvas, width, this.#layout.height);
    this.#drawCells(context);
    this.#drawLabels(context);
    const cell = this.#looked();
    if (cell !== null) this.#drawCursor(context, cell);
    say(this.output, cell === null ? this.#map.summary : this.#map.tell(cell.row, cell.column));
  }

  #looked() {
    const cell = this.#pointer ?? (document.activeElement === this.canvas ? this.#cursor : null);
    return cell !== null && cell.row < this.#layout.rowCount && cell.column < this.#layout.columnCount ? cell : null;
  }

  #drawCells(context) {
    const { rowCount, columnCount, left, plotWidth, plotHeight, cellWidth, cellHeight } = this.#layout;
    const pixels = pixelsOf(this.#map.lines, columnCount, paletteOf(isDark() ? ramps.dark : ramps.light));
    Object.assign(this.#image, { width: columnCount, height: rowCount });
    this.#image.getContext("2d").putImageData(new ImageData(pixels, columnCount, rowCount), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#image, left, 0, plotWidth, plotHeight);
    context.fillStyle = colorNamed("ground");
    if (cellWidth >= gridFromPx) {
      for (let column = 1; column < columnCount; ++column) context.fillRect(left + column * cellWidth - 0.5, 0, 1, plotHeight);
    }
    if (cellHeight >= gridFromPx) {
      for (let row = 1; row < rowCount; ++row) context.fillRect(left, row * cellHeight - 0.5, plotWidth, 1);
    }
    context.fillStyle = colorNamed("bad");
    for (const column of this.#map.marks ?? []) context.fillRect(left + column * cellWidth, 0, cellWidth - 1, plotHeight);
  }

  #drawLabels(context) {
    const { rowCount, columnCount, left, plotWidth, plotHeight, cellWidth, cellHeight } = this.#layout;
    const { rowLabels, columnLabels } = this.#map;
    context.fillStyle = colorNamed("muted");
    context.font = `11px ${colorNamed("sans")}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const row of ticksOf(rowCount, plotHeight, 13)) {
      context.fillText(String(rowLabels[row]), left - 6, Math.max((row + 0.5) * cellHeight, 5) + 0.5);
    }
    context.textAlign = "center";
    const room = columnLabels === null ? 30 : 64;
    for (const column of ticksOf(columnCount, plotWidth, room)) {
      const text = columnLabels === null ? String(column) : columnLabels[column];
      context.fillText(text, left + (column + 0.5) * cellWidth, plotHeight + 10);
    }
  }

  #drawCursor(context, { row, column }) {
    const { left, cellWidth, cellHeight } = this.#layout;
    context.strokeStyle = colorNamed("ink");
    context.lineWidth = 2;
    context.strokeRect(left + column * cellWidth - 1, row * cellHeight - 1, cellWidth + 2, cellHeight + 2);
  }
}

// The scale: a canvas for what is below the mean, half = 0, or one for what is above, half = 1.
export function drawLegend(canvas, half) {
  const draw = () => {
    const context = canvas.getContext("2d");
    const palette = paletteOf(isDark() ? ramps.dark : ramps.light).slice(half * 128, half * 128 + 128);
    palette.forEach((rgb, i) => {
      context.fillStyle = `rgb(${rgb})`;
      context.fillRect((i * canvas.width) / 128, 0, canvas.width / 128 + 1, canvas.height);
    });
  };
  onLookChange(canvas, draw);
}
