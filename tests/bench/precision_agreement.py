#!/usr/bin/env python3
"""How far fast and quantised arithmetic stay from float32 on one checkpoint, as a Markdown table.

  precision_agreement.py --tessera=build/release/bin/tessera --model=DIR [--tokens=256] [--seed=1]

Each row is one `tessera logits` run on the same random token ids; the row is compared, position by position,
with the run of float32 arithmetic, keys and values: share of positions with the same most probable token,
mean and largest Kullback-Leibler divergence (nats), largest difference of a logit. Needs python3-numpy.
"""
import argparse
import json
import os
import subprocess
import tempfile

import numpy as np

RUNS = [("fast, as stored", ["--precision=fast"]),
        ("fast, q8", ["--precision=fast", "--expert_dtype=q8", "--dense_dtype=q8"]),
        ("fast, q4 experts, q8 rest", ["--precision=fast", "--expert_dtype=q4", "--dense_dtype=q8"]),
        ("fast, q4", ["--precision=fast", "--expert_dtype=q4", "--dense_dtype=q4"])]


def logits(args, ids, flags, vocab):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([args.tessera, "logits", f"--model={args.model}", f"--out={out.name}",
                        "--ids=" + ",".join(map(str, ids))] + flags, check=True, stderr=subprocess.DEVNULL)
        return np.fromfile(out.name, "<f4").reshape(len(ids), vocab)


def log_softmax(rows):
    rows = rows.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with open(os.path.join(args.model, "config.json")) as config:
        vocab = json.load(config)["vocab_size"]
    ids = np.random.default_rng(args.seed).integers(0, vocab, args.tokens)
    exact = logits(args, ids, ["--precision=float32"], vocab)
    expected = log_softmax(exact)
    print(f"| against float32, {args.tokens} positions | same top token | mean KL | max KL | max logit difference |")
    print("|---|---|---|---|---|")
    for name, flags in RUNS:
        found = logits(args, ids, flags, vocab)
        kl = (np.exp(expected) * (expected - log_softmax(found))).sum(axis=1)
        same = (found.argmax(axis=1) == exact.argmax(axis=1)).mean()
        print(f"| {name} | {100 * same:.1f} % | {kl.mean():.5f} | {kl.max():.4f} | {np.abs(found - exact).max():.3f} |")


if __name__ == "__main__":
    main()
