#!/usr/bin/env python3
"""What it costs to have the experts in other processes: decode of `tessera bench` with --shards=N over --shards=0.

  tests/bench/tax.py --model=DIR [--tessera=PROGRAM] [--rounds=4] [--threads=2] [--shards=1,2] [-- FLAGS OF BENCH]

A round runs every number of shards once, one right after the other, in turn forwards and backwards, so that all meet
the same moods of the machine; medians are compared. Prints a Markdown table and whether the promise held: the better
number of shards reaches 0.90 of one process with 1 sequence and 0.93 with 8. nano-slice, which the promise is about, is
made by vs_llama_cpp.sh (~/.cache/tessera-bench/models/nano-slice/hf). Exit code 1: it did not hold.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

GENERATE = 48
PROMISED = {1: 0.90, 8: 0.93}  # sequences: least share of the speed in one process


def busy_seconds():
    """CPU seconds of the whole machine, without idle and waiting."""
    with open("/proc/stat") as stat:
        v = [int(x) for x in stat.readline().split()[1:]]
    return (sum(v[:3]) + sum(v[5:8])) / os.sysconf("SC_CLK_TCK")


def children_seconds():
    times = os.times()
    return times.children_user + times.children_system


def run(arguments, shards, others):
    """{sequences: the JSON line of that case}; appends the percent of a core that others used to `others`."""
    command = [arguments.tessera, "bench", f"--model={arguments.model}", f"--threads={arguments.threads}",
               f"--shards={shards}", "--batch=" + ",".join(map(str, PROMISED)), "--prompt_tokens=0",
               f"--generate_tokens={GENERATE}", "--json", *arguments.flags]
    busy, own, start = busy_seconds(), children_seconds(), time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wall = time.monotonic() - start
    others.append(max(0.0, 100 * (busy_seconds() - busy - children_seconds() + own) / wall))
    if done.returncode:
        sys.exit(f"exit code {done.returncode} of {' '.join(command)}\n{done.stderr[-2000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["batch"]: line for line in lines}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tessera", default=os.path.join(here, "../../build/release/bin/tessera"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shards", default="1,2")
    parser.add_argument("flags", nargs="*")
    arguments = parser.parse_args()
    ways = [0] + [int(n) for n in arguments.shards.split(",")]
    results = {n: [] for n in ways}
    others = []
    for i in range(arguments.rounds):
        for n in ways if i % 2 == 0 else reversed(ways):
            results[n].append(run(arguments, n, others))

    def values(n, sequences, what):
        return [result[sequences][what] for result in results[n]]

    def cell(n, sequences):
        speeds = values(n, sequences, "decode_tokens_per_second")
        share = statistics.median(speeds) / statistics.median(values(0, sequences, "decode_tokens_per_second"))
        return share, f"{share:.2f} ({min(speeds):.1f}–{max(speeds):.1f} tok/s)"

    print("| | " + " | ".join("in process" if n == 0 else f"{n} shard{'s' * (n > 1)}" for n in ways) + " |")
    print("|---" * (len(ways) + 1) + "|")
    held = True
    for sequences, promised in PROMISED.items():
        cells = [cell(n, sequences) for n in ways]
        best = max(share for share, _ in cells[1:])
        held = held and best >= promised
        print(f"| decode, {sequences} sequence{'s' * (sequences > 1)} | " + " | ".join(text for _, text in cells) + " |")
    memory = [statistics.median(values(n, 1, "resident_bytes")) for n in ways]
    print("| memory, all processes | " + " | ".join(f"{bytes_ / memory[0]:.2f}" for bytes_ in memory) + " |")
    print(f"\n{arguments.rounds} rounds, {arguments.threads} threads; other programs used "
          f"{statistics.median(others):.0f} % of a core ({min(others):.0f}–{max(others):.0f}). The promise "
          + ", ".join(f"{p:.2f} at {s}" for s, p in PROMISED.items()) + (" held." if held else " did not hold."))
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
