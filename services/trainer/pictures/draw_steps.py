#!/usr/bin/env python3
"""Draws what training runs wrote to steps.csv, several runs in one SVG; python3 alone is needed.

    draw_steps.py overview smebu=a/steps.csv none=b/steps.csv > overview.svg
    draw_steps.py layers --figure=maxvio smebu=a/steps.csv none=b/steps.csv > maxvio.svg
    draw_steps.py thin --every=8 a/steps.csv > thinned.csv

overview: loss, MaxVio, load and unused experts over tokens, figures of a layer as the mean of the layers.
layers:   one figure (maxvio, load or unused), a panel a layer.
thin:     one line for every so many steps, numbers averaged; the other two draw it as well.

The pictures follow the reader's light or dark scheme.
"""

import argparse
import csv
import sys
from xml.sax.saxutils import escape

# Of the first, second, ... run; readable on white and on near black, and by the colour-blind
# (Okabe and Ito's, the yellow left out); dashes tell the runs apart without any colour.
COLOURS = ["#0e8a63", "#d55e00", "#3d85c6", "#b0639b", "#7f7f7f", "#c99700"]
DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 4"]

STYLE = """
  .ground { fill: #ffffff } .ink { fill: #1f2328 } .pale { fill: #59636e }
  .axis { stroke: #8c959f; fill: none } .grid { stroke: #d1d9e0; fill: none }
  text { font: 12px ui-sans-serif, system-ui, 'Segoe UI', sans-serif } .title { font-weight: 600; font-size: 13px }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .ink { fill: #e6edf3 } .pale { fill: #9198a1 }
    .axis { stroke: #656c76 } .grid { stroke: #2a313c }
  }"""

FIGURES = {
    "loss": ("loss (nats a token)", 0.0),
    "maxvio": ("MaxVio of a step (0: even)", 0.0),
    "load": ("mean / largest load, 16 k tokens (1: even)", (0.0, 1.0)),
    "unused": ("experts without a row in a step", 0.0),
}


class Run:
    """The columns of a steps.csv, as lists; a cell without a number is None."""

    def __init__(self, name, lines):
        rows = list(csv.reader(lines))
        if len(rows) < 2 or rows[0][:3] != ["step", "tokens", "loss"]:
            raise ValueError(f"{name}: found no steps; expected the steps.csv of a run")
        self.name = name
        self.names = rows[0]
        whole = [row for row in rows[1:] if len(row) == len(rows[0])]  # the last may be half written
        self.columns = {
            column: [float(row[i]) if row[i] else None for row in whole] for i, column in enumerate(self.names)
        }

    def layers(self, figure):
        prefix = figure + "_"
        return [int(name[len(prefix):]) for name in self.names if name.startswith(prefix)]

    def series(self, figure, layer=None):
        """[(tokens, value)] of one column, or of the mean of the layers' columns."""
        if figure == "loss":
            columns = [self.columns["loss"]]
        else:
            columns = [self.columns[f"{figure}_{i}"] for i in self.layers(figure) if layer in (None, i)]
        points = []
        for tokens, *values in zip(self.columns["tokens"], *columns):
            if values and None not in values:
                points.append((tokens, sum(values) / len(values)))
        return points


def smooth(points, windows=60):
    """Means of equal parts of the series, so that a long run is drawn with few points."""
    size = max(1, round(len(points) / windows))
    parts = [points[i:i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def ticks(low, high, count=4):
    """Round numbers that cover [low, high], about `count` steps of them."""
    span = (high - low) or 1.0
    step = 10.0 ** len(str(int(span)))
    for factor in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001):
        if span / (step * factor) >= count:
            step *= factor
            break
    first = int(low / step)
    marks = [first * step]
    while marks[-1] < high - step * 1e-6:
        marks.append((first + len(marks)) * step)
    return marks


def label(value):
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if abs(value) >= 1e4 else f"{round(value, 6):g}"


class Panel:
    """One pair of axes in a box of the picture, and the runs' lines in it."""

    LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 24

    def __init__(self, title, lines, limits):
        self.title = title
        self.lines = lines  # [(colour index, points)]
        xs = [x for _, points in lines for x, _ in points] or [0.0]
        ys = [y for _, points in lines for _, y in points] or [0.0]
        fixed = isinstance(limits, tuple)
        self.x_marks = ticks(0.0, max(xs))
        self.y_marks = ticks(*limits) if fixed else ticks(limits, max(ys))

    def draw(self, x, y, width, height):
        left, right = x + self.LEFT, x + width - self.RIGHT
        top, bottom = y + self.TOP, y + height - self.BOTTOM
        x_end, y_low, y_high = self.x_marks[-1] or 1.0, self.y_marks[0], self.y_marks[-1]
        at_x = lambda value: left + (right - left) * value / x_end
        at_y = lambda value: bottom - (bottom - top) * (value - y_low) / ((y_high - y_low) or 1.0)
        out = [f'<text class="ink title" x="{left}" y="{y + 16}">{escape(self.title)}</text>']
        for mark in self.y_marks:
            out.append(f'<path class="grid" d="M{left} {at_y(mark):.1f}H{right}"/>')
            out.append(f'<text class="pale" x="{left - 6}" y="{at_y(mark) + 4:.1f}" text-anchor="end">{label(mark)}</text>')
        for mark in self.x_marks:
            out.append(f'<text class="pale" x="{at_x(mark):.1f}" y="{bottom + 16}" text-anchor="middle">{label(mark)}</text>')
        out.append(f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>')
        for index, points in self.lines:
            path = "L".join(f"{at_x(px):.1f} {at_y(py):.1f}" for px, py in points)
            dash = DASHES[index % len(DASHES)]
            dashes = f' stroke-dasharray="{dash}"' if dash else ""
            if path:
                out.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[index % len(COLOURS)]}" '
                           f'stroke-width="1.8" stroke-linejoin="round"{dashes}/>')
        return out


def picture(title, panels, names, columns):
    """The panels in rows of `columns`, the runs' names above them."""
    width, height, head = 420, 220, 58
    rows = (len(panels) + columns - 1) // columns
    total_width, total_height = width * columns + 16, head + height * rows + 18
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_width} {total_height}" '
           f'width="{total_width}" height="{total_height}" role="img"><title>{escape(title)}</title>',
           f"<style>{STYLE}\n</style>",
           f'<rect class="ground" width="{total_width}" height="{total_height}"/>',
           f'<text class="ink title" x="16" y="22">{escape(title)}</text>']
    at = 16
    for index, name in enumerate(names):
        dash = DASHES[index % len(DASHES)]
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        out.append(f'<path d="M{at} 42h34" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="2.5"{dashes}/>')
        out.append(f'<text class="ink" x="{at + 40}" y="46">{escape(name)}</text>')
        at += 64 + 7 * len(name)
    for i, panel in enumerate(panels):
        out += panel.draw(8 + width * (i % columns), head + height * (i // columns), width, height)
    out.append(f'<text class="pale" x="{total_width - 20}" y="{total_height - 8}" text-anchor="end">tokens</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def overview(runs, title):
    panels = []
    for figure, (name, limits) in FIGURES.items():
        lines = [(i, smooth(run.series(figure))) for i, run in enumerate(runs)]
        panels.append(Panel(name, lines, limits))
    return picture(title + ": means of layers" if title else "Means of layers", panels, [run.name for run in runs], 2)


def layers(runs, figure, title):
    panels = []
    for layer in runs[0].layers(figure):
        lines = [(i, smooth(run.series(figure, layer))) for i, run in enumerate(runs)]
        panels.append(Panel(f"layer {layer}", lines, FIGURES[figure][1]))
    return picture(title or FIGURES[figure][0], panels, [run.name for run in runs], min(3, len(panels)))


def thin(run, every):
    """CSV text: steps and tokens of the last line of each group, the means of its other numbers."""
    out = [",".join(run.names)]
    count = len(run.columns["step"])
    for begin in range(0, count, every):
        cells = []
        for name in run.names:
            values = [value for value in run.columns[name][begin:begin + every] if value is not None]
            if name in ("step", "tokens"):
                cells.append(f"{values[-1]:.0f}")
            else:
                cells.append(f"{sum(values) / len(values):.4g}" if values else "")
        out.append(",".join(cells))
    return "\n".join(out) + "\n"


def read(argument):
    name, _, path = argument.rpartition("=")
    with open(path, encoding="utf-8") as lines:
        return Run(name or path, lines)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overview", "layers", "thin"])
    parser.add_argument("runs", nargs="+", metavar="[NAME=]FILE")
    parser.add_argument("--figure", choices=[name for name in FIGURES if name != "loss"], default="maxvio")
    parser.add_argument("--title", default="")
    parser.add_argument("--every", type=int, default=8, help="steps a line (thin)")
    options = parser.parse_args(arguments)
    try:
        runs = [read(argument) for argument in options.runs]
    except (OSError, ValueError) as error:
        print(f"draw_steps.py: {error}", file=sys.stderr)
        return 1
    if options.what == "thin":
        sys.stdout.write(thin(runs[0], max(1, options.every)))
    elif options.what == "layers":
        sys.stdout.write(layers(runs, options.figure, options.title))
    else:
        sys.stdout.write(overview(runs, options.title))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
