#!/usr/bin/env python3
"""Writes common/text/unicode_tables_{properties,forms}.cc from the measurements of measure_reference.mjs.

  python3 make_unicode_tables.py reference.json ../../common/text

Python's own unicodedata gives what cannot be measured from outside: combining classes and one-step
compositions, both restricted to what the reference knows. It must be Unicode 14 (Python 3.11), because
the "changed" table is the difference from the Unicode version of PCRE2 10.42.
"""
import json
import sys
import unicodedata

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
              "Cc Cf Cs Co Cn").split()
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def packed(numbers):
    out = []
    for n in numbers:
        while n >= 32:
            out.append(ALPHABET[32 + (n & 31)])
            n >>= 5
        out.append(ALPHABET[n])
    return "".join(out)


def zigzag(n):
    return 2 * n if n >= 0 else -2 * n - 1


def runs(values):
    """(start, length, value) of maximal runs of equal values; values: sorted (code point, value)."""
    out = []
    for c, v in values:
        if out and out[-1][0] + out[-1][1] == c and out[-1][2] == v:
            out[-1][1] += 1
        else:
            out.append([c, 1, v])
    return out


def gapped(entries):
    """Numbers of entries [start, length, *rest], each start as its distance from the last one's end."""
    end = 0
    numbers = []
    for start, length, *rest in entries:
        numbers += [start - end, length, *rest]
        end = start + length
    return numbers


def set_runs(code_points):
    return gapped([r[:2] for r in runs((c, 0) for c in sorted(code_points))])


def table(name, comment, numbers):
    text = packed(numbers)
    lines = [f'    "{text[i:i + 92]}"' for i in range(0, max(len(text), 1), 92)]
    return f"// {comment}\nconst char kPacked{name}[] =\n" + "\n".join(lines) + ";\n\n"


def write(path, tables):
    with open(path, "w", encoding="ascii") as f:
        f.write("// Written by tests/text_differential/make_unicode_tables.py; do not edit.\n"
                '#include "common/text/unicode_tables.h"\n\nnamespace tessera {\n\n')
        f.write("".join(tables))
        f.write("}  // namespace tessera\n")


def properties(ref):
    category = {c: name for name, members in ref["categories"].items() for c in members}
    of = lambda c: category.get(c, "Cs" if 0xD800 <= c < 0xE000 else "Cn")
    index = {name: i for i, name in enumerate(CATEGORIES)}
    all_runs = runs((c, index[of(c)]) for c in range(0x110000))
    changed = runs((c, index[unicodedata.category(chr(c))]) for c in range(0x110000)
                   if unicodedata.category(chr(c)) != of(c))
    numeric = [c for c in ref["numeric"] if of(c)[0] != "N"]
    lower, last = [], 0
    for c, to in sorted((int(k), v) for k, v in ref["lowercase"].items()):
        if len(to) == 1:  # the only other one, U+0130, is written out in the code
            lower += [c - last, zigzag(to[0] - c)]
            last = c
    return [
        table("Categories", "(length, category) of every run of code points from U+0000 on.",
              [n for _, length, v in all_runs for n in (length, v)]),
        table("CategoryChanges", "(gap, length, category in Unicode 14) of what the reference sees otherwise.",
              gapped(changed)),
        table("NumericBeyondN", "(gap, length): numeric for Digits, but no N above (newer Unicode).",
              set_runs(numeric)),
        table("Punctuation", "(gap, length): what Punctuation splits at.", set_runs(ref["punctuation"])),
        table("Lowercase", "(gap, zigzag of target - code point).", lower),
    ]


def forms(ref):
    as_map = lambda name: {int(k): v for k, v in ref[name].items()}
    nfd, nfkd, nfc = as_map("NFD"), as_map("NFKD"), as_map("NFC")
    hangul = range(0xAC00, 0xD7A4)
    canonical, compatible, compose = [], [], []
    for out, source in ((canonical, nfd), (compatible, nfkd)):
        last = 0
        for c in sorted(source):
            if c in hangul or (out is compatible and nfd.get(c) == source[c]):
                continue
            out += [c - last, len(source[c]), *source[c]]
            last = c
    last = 0
    for c in sorted(nfd):
        parts = unicodedata.decomposition(chr(c)).split()
        if c in hangul or c in nfc or len(parts) != 2:
            continue
        compose += [c - last, *(int(p, 16) for p in parts)]
        last = c
    marks = set(ref["accents"])
    classes = runs((c, unicodedata.combining(chr(c))) for c in CODE_POINTS
                   if c in marks and unicodedata.combining(chr(c)))
    return [
        table("Marks", "(gap, length): what StripAccents removes.", set_runs(marks)),
        table("CombiningClasses", "(gap, length, class).", gapped(classes)),
        table("Canonical", "(gap, count, code points): full canonical decompositions, without Hangul.", canonical),
        table("Compatible", "(gap, count, code points): full compatibility decompositions that differ.", compatible),
        table("Compositions", "(gap, first, second): primary composites.", compose),
    ]


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"unicodedata is {unicodedata.unidata_version}; this needs 14.0.0 (Python 3.11)")
    with open(sys.argv[1], encoding="utf-8") as f:
        ref = json.load(f)
    write(sys.argv[2] + "/unicode_tables_properties.cc", properties(ref))
    write(sys.argv[2] + "/unicode_tables_forms.cc", forms(ref))


main()
