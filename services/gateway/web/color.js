// From how busy a cell is to its colour. No DOM.

// Idle to very busy, for a light and for a dark ground: the further from the ground, the busier.
export const ramps = {
  light: ["#ece8e0", "#f3cf8b", "#e88b3f", "#c2402f", "#6d1233", "#2b0620"],
  dark: ["#24282f", "#54306b", "#a8366a", "#e4664c", "#f7b45a", "#fdf6c9"],
};

export function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// 256 colours, [r, g, b] each, evenly between the given ones.
export function paletteOf(hexes) {
  const stops = hexes.map(rgbOf);
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1);
    const from = Math.min(Math.floor(place), stops.length - 2);
    return stops[from].map((channel, c) => Math.round(channel + (stops[from + 1][c] - channel) * (place - from)));
  });
}

// Index of the palette for a load of `times` the mean. The mean is the middle, and no load is off the scale.
export function shadeOf(times) {
  return Math.round((255 * times) / (1 + times));
}
