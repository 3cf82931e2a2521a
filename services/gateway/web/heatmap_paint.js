// Where the cells of a heat map are and what colour they have. No DOM: pixels go into an array.

import { shadeOf } from "./color.js";

const cellHeightMin = 5, cellHeightMax = 22, plotHeightWanted = 330, gutter = 34, axis = 18;

// Of a map `width` CSS pixels wide. Few layers get high cells, many low ones: the map stays on a screen.
export function layoutOf(width, rowCount, columnCount) {
  const plotWidth = Math.max(width - gutter, 1);
  const cellWidth = columnCount > 0 ? plotWidth / columnCount : plotWidth;
  const cellHeight = Math.min(Math.max(Math.floor(plotHeightWanted / rowCount), cellHeightMin), cellHeightMax);
  return { width, rowCount, columnCount, left: gutter, plotWidth, cellWidth, cellHeight,
    plotHeight: rowCount * cellHeight, height: rowCount * cellHeight + axis };
}

// The cell at a point, or null.
export function cellAt(layout, x, y) {
  const column = Math.floor((x - layout.left) / layout.cellWidth);
  const row = Math.floor(y / layout.cellHeight);
  const inside = column >= 0 && column < layout.columnCount && row >= 0 && row < layout.rowCount;
  return inside ? { row, column } : null;
}

// Where a key leads from a cell; null if the key means nothing here.
export function cellAfter(layout, { row, column }, key) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-10, 0], PageDown: [10, 0],
    Home: [0, -Infinity], End: [0, Infinity] };
  if (!(key in steps)) return null;
  const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
  return { row: within(row + steps[key][0], layout.rowCount), column: within(column + steps[key][1], layout.columnCount) };
}

// One RGBA pixel a cell: `lines` hold how often each cell has the mean of its line.
export function pixelsOf(lines, columnCount, palette) {
  const pixels = new Uint8ClampedArray(lines.length * columnCount * 4);
  let at = 0;
  for (const line of lines) {
    for (let column = 0; column < columnCount; ++column, at += 4) {
      const [red, green, blue] = palette[shadeOf(line[column] ?? 0)];
      pixels[at] = red;
      pixels[at + 1] = green;
      pixels[at + 2] = blue;
      pixels[at + 3] = 255;
    }
  }
  return pixels;
}

// Indexes to be labelled so that labels `room` pixels apart fit: 0, 8, 16, ... of `count` in `length` pixels.
export function ticksOf(count, length, room) {
  const steps = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
  const step = steps.find((each) => (length / count) * each >= room) ?? count;
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
}
