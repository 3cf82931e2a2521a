"""Holds services/trainer/pictures/draw_steps.py to what it says: run by ctest, or by `python3 draw_steps_test.py`."""

import contextlib
import importlib.util
import io
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.path.join(HERE, "..", "..", "..", "..", "services", "trainer", "pictures", "draw_steps.py")
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("draw_steps", TOOL)
draw_steps = importlib.util.module_from_spec(spec)
spec.loader.exec_module(draw_steps)

SVG = "{http://www.w3.org/2000/svg}"


def steps(count, level):
    """The steps.csv of a run of two MoE layers; a window of load ends at every second step."""
    lines = ["step,tokens,loss,maxvio_2,maxvio_3,unused_2,unused_3,load_2,load_3"]
    for step in range(1, count + 1):
        load = f"{level},{level + 0.2}" if step % 2 == 0 else ","
        lines.append(f"{step},{step * 1000},{8 / step},{step},{step + 2},0,4,{load}")
    return "\n".join(lines) + "\n"


def drawn(root):
    """Points of each line of a run, panel by panel."""
    paths = [path for path in root.iter(SVG + "path") if path.get("stroke-linejoin")]
    return [[tuple(map(float, pair.split())) for pair in path.get("d")[1:].split("L")] for path in paths]


class DrawStepsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def call(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = draw_steps.main(list(arguments))
        return code, out.getvalue(), err.getvalue()

    def test_an_overview_has_four_panels_with_a_line_a_run(self):
        one, two = self.file("one.csv", steps(10, 0.5)), self.file("two.csv", steps(20, 0.1))
        code, text, _ = self.call("overview", "--title=A < B", f"one={one}", f"two={two}")
        self.assertEqual(code, 0)
        root = xml.etree.ElementTree.fromstring(text)
        words = [element.text for element in root.iter(SVG + "text")]
        self.assertIn("one", words)
        self.assertIn("A < B: means of layers", words)
        self.assertIn("20 k", words)
        lines = drawn(root)
        self.assertEqual(len(lines), 8)
        self.assertEqual([len(line) for line in lines], [10, 20, 10, 20, 5, 10, 10, 20])
        # One run ends where half of the other's tokens are, and the more even one is drawn above.
        left = lines[1][0][0] - (lines[1][-1][0] - lines[1][0][0]) / 19
        self.assertAlmostEqual((lines[0][-1][0] - left) * 2, lines[1][-1][0] - left, delta=0.5)
        self.assertLess(lines[4][0][1], lines[5][0][1])
        for line in lines:
            for x, y in line:
                self.assertTrue(0 <= x <= float(root.get("width")) and 0 <= y <= float(root.get("height")))

    def test_a_panel_for_each_layer(self):
        path = self.file("one.csv", steps(10, 0.5))
        code, text, _ = self.call("layers", "--figure=load", path)
        self.assertEqual(code, 0)
        root = xml.etree.ElementTree.fromstring(text)
        words = [element.text for element in root.iter(SVG + "text")]
        self.assertIn("layer 2", words)
        self.assertIn("layer 3", words)
        second, third = drawn(root)
        self.assertEqual(len(second), 5)
        self.assertLess(third[0][1], second[0][1])  # 0.7 above 0.5

    def test_long_runs_are_drawn_by_means(self):
        run = draw_steps.Run("one", steps(600, 0.5).splitlines())
        points = draw_steps.smooth(run.series("maxvio"))
        self.assertEqual(len(points), 60)
        self.assertEqual(points[0], (5500.0, 6.5))  # steps 1 to 10, the mean of step and step + 2

    def test_a_thinned_file_is_drawn_like_the_whole(self):
        path = self.file("one.csv", steps(10, 0.5))
        code, text, _ = self.call("thin", "--every=4", path)
        self.assertEqual(code, 0)
        lines = text.splitlines()
        self.assertEqual(len(lines), 4)
        self.assertEqual(lines[1], "4,4000,4.167,2.5,4.5,0,4,0.5,0.7")
        self.assertEqual(lines[3].split(",")[:2], ["10", "10000"])
        code, text, _ = self.call("overview", self.file("thin.csv", text))
        self.assertEqual(code, 0)
        self.assertEqual(len(drawn(xml.etree.ElementTree.fromstring(text))), 4)

    def test_a_line_under_way_is_left_out(self):
        run = draw_steps.Run("one", (steps(3, 0.5) + "4,40").splitlines())
        self.assertEqual(len(run.series("loss")), 3)

    def test_what_is_no_run_is_named(self):
        for path in [self.file("empty.csv", ""), self.file("other.csv", "a,b\n1,2\n"), "/no/such/file"]:
            code, text, errors = self.call("overview", path)
            self.assertEqual((code, text), (1, ""))
            self.assertIn(path, errors)

    def test_marks_cover_the_numbers(self):
        for low, high in [(0, 1), (0, 0.75), (0, 7.3), (0, 4_100_000), (0, 0), (0, 16.9), (0, 823)]:
            marks = draw_steps.ticks(low, high)
            self.assertTrue(marks[0] <= low and marks[-1] >= high * 0.999, marks)
            self.assertTrue(1 <= len(marks) <= 10, marks)


if __name__ == "__main__":
    unittest.main()
