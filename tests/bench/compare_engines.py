#!/usr/bin/env python3
"""Run `tessera bench` and llama.cpp's bench programs in turn, and print medians and ratios as Markdown.

Started by vs_llama_cpp.sh, which says where the programs and checkpoints are. A round is every case once, one
program right after the other (A B, and B A in the next round), so that both meet the same moods of the machine.
README.md in this folder says what is compared with what.
"""
import argparse
import glob
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

PROMPT = 512   # tokens of the prefill cases
GENERATE = 64  # tokens of the decode cases, which begin behind a prompt of one token at most
BATCH = 8
REPEATS = 3    # of each figure in one run of a program; their median counts
GGUF = {"bf16": "bf16", "q8": "q8_0"}

# Rows of the table, in order; True where less is better.
DECODE_1, DECODE_N = "decode, 1 sequence (tok/s)", f"decode, {BATCH} sequences (tok/s, sum)"
PREFILL_LAST, PREFILL_ALL = f"prefill {PROMPT}, logits of last (tok/s)", f"prefill {PROMPT}, logits of all (tok/s)"
FIRST, FIRST_MAPPED = "seconds to first token", "seconds to first token, mapped file"
MEMORY = "peak memory (MB)"
ROWS = {DECODE_1: False, DECODE_N: False, PREFILL_LAST: False, PREFILL_ALL: False, FIRST: True, FIRST_MAPPED: True,
        MEMORY: True}
CASES = ["one_sequence", "many_sequences", "all_logits", "first_token"]


def busy_seconds():
    """CPU seconds of the whole machine, without idle and waiting."""
    with open("/proc/stat") as stat:
        v = [int(x) for x in stat.readline().split()[1:]]
    return (sum(v[:3]) + sum(v[5:8])) / os.sysconf("SC_CLK_TCK")


class Runner:
    """Runs programs one after the other; keeps what else the machine was doing meanwhile."""

    def __init__(self):
        self.other_cpu = []  # percent of one core, a value a run

    def run(self, command):
        """JSON lines the command printed, and its peak RSS in bytes."""
        busy, start = busy_seconds(), time.monotonic()
        with tempfile.TemporaryFile("w+") as error_file:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=error_file, text=True)
            out = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            error_file.seek(0)
            errors = error_file.read()
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        other = busy_seconds() - busy - usage.ru_utime - usage.ru_stime
        self.other_cpu.append(max(0.0, 100 * other / wall))
        if child.returncode:
            sys.exit(f"exit code {child.returncode} of {' '.join(command)}\n{errors[-2000:]}")
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        if not lines:
            sys.exit(f"no result of {' '.join(command)}\n{errors[-2000:]}")
        return lines, usage.ru_maxrss * 1024


class Ours:
    """Each case returns {row of the table: value}."""

    def __init__(self, runner, arguments):
        self.runner, self.a, self.lines = runner, arguments, []

    def bench(self, dtype, prompt, generate, *flags, rounds=REPEATS):
        lines, _ = self.runner.run([
            self.a.tessera, "bench", f"--model={self.a.models}/hf", f"--threads={self.a.threads}", "--precision=fast",
            f"--expert_dtype={dtype}", f"--dense_dtype={dtype}", f"--prompt_tokens={prompt}",
            f"--generate_tokens={generate}", f"--rounds={rounds}", "--json", *flags])
        self.lines.append(lines[-1])
        return lines[-1]

    def one_sequence(self, dtype):
        line = self.bench(dtype, PROMPT, GENERATE, "--batch=1", "--logits=last")
        # Not the process's own peak: the buffer that measures the memory's speed comes after this figure.
        return {DECODE_1: line["decode_tokens_per_second"], PREFILL_LAST: line["prefill_tokens_per_second"],
                MEMORY: line["peak_rss_bytes"] / 1e6}

    def many_sequences(self, dtype):
        return {DECODE_N: self.bench(dtype, 0, GENERATE, f"--batch={BATCH}")["decode_tokens_per_second"]}

    def all_logits(self, dtype):
        return {PREFILL_ALL: self.bench(dtype, PROMPT, 0, "--batch=1", "--logits=all")["prefill_tokens_per_second"]}

    def first_token(self, dtype):
        return {FIRST: self.bench(dtype, 1, 0, rounds=1)["time_to_first_token_seconds"]}

    def first_token_mapped(self, dtype):
        return {FIRST_MAPPED: self.bench("auto", 1, 0, "--weights=mapped", rounds=1)["time_to_first_token_seconds"]}


class Peer:
    """The same cases by llama.cpp's programs; without mmap, which is its faster way to run."""

    def __init__(self, runner, arguments):
        self.runner, self.a = runner, arguments

    def program(self, name, dtype, *arguments):
        path = f"{self.a.models}/{self.a.shape}-{GGUF[dtype]}.gguf"
        model = [path] if name == "llama-logits-all" else ["-m", path, "-t", self.a.threads, "-lm", "none"]
        return self.runner.run([os.path.join(self.a.peer, name), *map(str, [*model, *arguments])])

    def one_sequence(self, dtype):
        lines, rss = self.program("llama-bench", dtype, "-r", REPEATS, "-o", "jsonl", "-p", PROMPT, "-n", GENERATE)
        prefill, decode = (statistics.median(line["samples_ts"]) for line in lines)
        return {DECODE_1: decode, PREFILL_LAST: prefill, MEMORY: rss / 1e6}

    def many_sequences(self, dtype):
        lines, _ = self.program("llama-batched-bench", dtype, "-c", BATCH * (GENERATE + 1) + 256, "-npp", 1,
                                "-ntg", GENERATE, "-npl", BATCH, "--output-format", "jsonl")
        return {DECODE_N: lines[0]["speed_tg"]}

    def all_logits(self, dtype):
        lines, _ = self.program("llama-logits-all", dtype, self.a.threads, PROMPT, REPEATS, "none")
        return {PREFILL_ALL: statistics.median(lines[0]["prefill_all"])}

    def first_token(self, dtype):
        lines, _ = self.program("llama-logits-all", dtype, self.a.threads, PROMPT, 0, "none")
        return {FIRST: lines[0]["first_token_seconds"]}

    def first_token_mapped(self, dtype):
        lines, _ = self.program("llama-logits-all", dtype, self.a.threads, PROMPT, 0, "mmap")
        return {FIRST_MAPPED: lines[0]["first_token_seconds"]}


def figure(values):
    digits = 3 if statistics.median(values) < 10 else 1 if statistics.median(values) < 1000 else 0
    low, middle, high = (f"{x:.{digits}f}" for x in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def warm(folder):
    """Reads every file once, so that no run waits for the disk."""
    buffer = bytearray(16 << 20)
    for path in glob.glob(f"{folder}/**", recursive=True):
        if os.path.isfile(path) and not path.endswith(".part"):
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def cpu_name():
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def print_table(arguments, results, lines, other_cpu):
    print(f"### {arguments.shape}, {arguments.threads} threads, {arguments.rounds} rounds, {cpu_name()}\n")
    print("| case | weights | tessera | llama.cpp | ratio |\n|---|---|---|---|---|")
    for name, less_is_better in ROWS.items():
        for dtype in arguments.dtypes:
            ours, peer = results.get((name, dtype, "ours")), results.get((name, dtype, "peer"))
            if not ours or not peer:
                continue
            ratio = statistics.median(ours) / statistics.median(peer)
            print(f"| {name} | {dtype} | {figure(ours)} | {figure(peer)} | {1 / ratio if less_is_better else ratio:.2f} |")
    print("\nMedians (smallest–largest); a ratio over 1 means tessera is ahead.", end=" ")
    decode = [x for x in lines if x["batch"] == 1 and x["generate_tokens"] == GENERATE]
    speed = statistics.median(x["read_bandwidth_bytes_per_second"] for x in decode) / 1e9
    shares = {d: [x["bandwidth_share"] for x in decode if x["dtype"] == d] for d in arguments.dtypes}
    told = ", ".join(f"{100 * statistics.median(v):.0f} % ({d})" for d, v in shares.items() if v)
    print(f"A plain read loop reached {speed:.1f} GB/s; our decoding of one sequence used {told} of it.", end=" ")
    kernels = sorted({str(x.get("kernels")) for x in lines})
    print(f"Kernels: {'; '.join(kernels)}. Other programs used {statistics.median(other_cpu):.0f} % of a core (median of a run).")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera", required=True, help="the program")
    parser.add_argument("--peer", required=True, help="folder of llama-bench, llama-batched-bench, llama-logits-all")
    parser.add_argument("--models", required=True, help="folder with hf/ and SHAPE-TYPE.gguf")
    parser.add_argument("--shape", required=True)
    parser.add_argument("--dtypes", type=lambda text: text.split(","), default=["bf16", "q8"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    runner, results = Runner(), {}
    engines = [("ours", Ours(runner, arguments)), ("peer", Peer(runner, arguments))]
    for round_index in range(arguments.rounds):
        order = engines if round_index % 2 == 0 else engines[::-1]
        for dtype in arguments.dtypes:
            warm(arguments.models)
            for case in CASES + (["first_token_mapped"] if dtype == "bf16" else []):
                for who, engine in order:
                    # The first run only fills memory: a virtual machine that gave free pages back to its host waits
                    # for each of them, whoever comes first.
                    if case.startswith("first_token"):
                        getattr(engine, case)(dtype)
                    for name, value in getattr(engine, case)(dtype).items():
                        results.setdefault((name, dtype, who), []).append(value)
                        print(f"round {round_index + 1}  {dtype:5} {who:5} {name:42} {value:10.2f}", file=sys.stderr)
    print_table(arguments, results, engines[0][1].lines, runner.other_cpu)


if __name__ == "__main__":
    main()
