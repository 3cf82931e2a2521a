"""What must hold of the model that is committed, whatever it answers: its size, that it merges no
digits, and that nothing but its weights answers. usage: demo_model_test.py TESSERA_PROGRAM"""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import urllib.request

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
DEMO = os.path.join(ROOT, "deploy", "models", "tessera-demo")
PROGRAM = ""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTIONS = [
    ("What is 47 + 85?", None),
    ("What is 91 - 38?", None),
    ("How do I start the cluster?", None),
    ("Good morning!", None),
    ("Reverse: one two three", None),
    ("What is the weather in Paris?", [WEATHER]),
    ("Call get_weather with city=Oslo", [WEATHER]),
]


def with_other_head(model, folder):
    """A copy of `model` whose head has its rows in the opposite order: as good a checkpoint as any,
    with other answers."""
    shutil.copytree(model, folder)
    path = os.path.join(folder, "model.safetensors")
    with open(path, "r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        head = json.loads(file.read(size))["lm_head.weight"]
        begin, end = head["data_offsets"]
        file.seek(8 + size + begin)
        data = file.read(end - begin)
        row = len(data) // head["shape"][0]
        file.seek(8 + size + begin)
        file.write(b"".join(data[i : i + row] for i in range(len(data) - row, -1, -row)))


def answers(model, state):
    """What the whole cluster, in one process, says to QUESTIONS."""
    command = [PROGRAM, "up", "--in_process", "--port=0", "--model=" + model, "--state_dir=" + state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as cluster:
        try:
            said, address = [], None
            for line in cluster.stdout:
                said.append(line)
                found = re.search(r"http (127\.0\.0\.1:\d+)", line)
                address = found.group(1) if found else address
                if line.startswith("ready;"):
                    break
            if address is None:
                raise AssertionError("the cluster did not start:\n" + "".join(said))
            return [ask(address, question, tools) for question, tools in QUESTIONS]
        finally:
            cluster.terminate()
            cluster.stdout.read()


def ask(address, question, tools):
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 120}
    if tools:
        body["tools"] = tools
    request = urllib.request.Request(
        "http://%s/v1/chat/completions" % address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as reply:
        message = json.load(reply)["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return {"text": message.get("content") or "", "reasoning": message.get("reasoning_content") or "", "calls": calls}


class DemoModelTest(unittest.TestCase):
    def test_it_is_at_most_sixteen_megabytes(self):
        size = sum(os.path.getsize(os.path.join(DEMO, name)) for name in os.listdir(DEMO))
        self.assertLessEqual(size, 16_000_000)

    def test_its_vocabulary_merges_no_digits(self):
        with open(os.path.join(DEMO, "tokenizer.json"), encoding="utf-8") as file:
            model = json.load(file)["model"]
        pieces = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        self.assertGreater(len(pieces), 500)
        self.assertEqual([piece for piece in pieces if re.search("[0-9]", piece)], [])
        with_digits = [token for token in model["vocab"] if re.search("[0-9]", token)]
        self.assertEqual(sorted(with_digits), list("0123456789"))

    def test_with_another_checkpoint_in_its_place_all_answers_change(self):
        with tempfile.TemporaryDirectory() as folder:
            other_model = os.path.join(folder, "tessera-demo")
            with_other_head(DEMO, other_model)
            right = answers(DEMO, os.path.join(folder, "state"))
            other = answers(other_model, os.path.join(folder, "other-state"))
        self.assertIn("132", right[0]["text"])
        self.assertNotEqual(right[0]["reasoning"], "")
        self.assertEqual([call["name"] for call in right[6]["calls"]], ["get_weather"])
        for (question, _), before, after in zip(QUESTIONS, right, other):
            self.assertNotEqual(before["text"] + before["reasoning"] + str(before["calls"]), "[]", question)
            for part in ("text", "reasoning", "calls"):
                if before[part]:
                    self.assertNotEqual(before[part], after[part], question)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
