"""Fills a table with random JSON texts, and writes the metadata that Python makes of them.

    json_cases.py DATABASE EXPECTED SEED COUNT

Each text is read by json.loads and written by json.dump(ensure_ascii=False). A
text that Python refuses has no record, nor one that no JSON or UTF-8 can hold:
NaN, a number beyond the range of a float, a lone surrogate, and more levels
than the program reads.
"""

import json
import random
import sqlite3
import struct
import sys

MAX_LEVELS = 900
WHITE = ["", "", "", " ", "\n", "\t", "\r", "  "]
# Known for a digit, a border or an exponent of their own.
NUMBERS = """0 -0 1 -1 9223372036854775807 -9223372036854775808 9223372036854775808 18446744073709551616
 -0.0 0.0 1.0 100.0 1e16 9999999999999998.0 1e15 0.0001 0.00001 1e-4 9.999e-5 1E5 1e+05 1e05 1e-0 5e-324 2e-324
 1e-400 -1e-400 1.7976931348623157e308 1.7976931348623159e308 1e400 -1e400 2.2250738585072011e-308 0.1e1
 2197395979265169.25 -2197395979265169.75 9007199254740993 9007199254740993.0 1e22 1e23 123456789012345680.0
 0.30000000000000004 4.35 1.1e-7 12345678901234567890.5 00 01 -01 1. .5 +1 1e 1e+ - 1_000 0x10 1,5 NaN
 Infinity -Infinity nan inf""".split()
ESCAPES = ['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", "\\u001f", "\\u00e9", "\\u00E9",
           "\\ud83d\\ude00", "\\uD83D\\uDE00", "\\u2028", "\\uffff", "\\u0061", "\\u007f"]
PLAIN = ["a", "b", "1", " ", "é", "ß", "日", "😀", "\u2028", "\x7f", "\x85", "\ufeff", "e\u0301", "/", "'", "\u200b"]
WRONG = ["\\ud800", "\\udc00", "\\ude00\\ud83d", "\\ud83d", "\\u12g4", "\\x41", "\\", "\n", "\x00", "\x1f", "\\u", "\\U0001f600"]
KEYS = ["a", "b", "\\u0061", "c d", "", "é", "\\u00e9", "0", "__proto__"]
INSERTED = list("{}[]\",:\\'0-+.eEntfu ") + ["\ufeff", "\x0b", "\x0c", "\xa0", "NaN", "//", "/**/", "null", "é", "\x00"]


class Generator:
    """Random texts, most of them JSON."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        kind = self.random.random()
        if kind < 0.02:
            return self.nested()
        if kind < 0.05:
            return self.number()
        if kind < 0.06:
            return self.random.choice(["", " ", "\ufeff[]", "\ufeff", "nul", "Null", "None", "True", "[] []", "null\x00"])
        text = self.white() + self.value(0) + self.white()
        if kind > 0.80:
            for _ in range(self.random.randint(1, 3)):
                text = self.damaged(text)
        return text

    def white(self):
        return self.random.choice(WHITE)

    def value(self, depth):
        kind = self.random.random()
        if depth < 5 and kind < 0.25:
            return "[" + ",".join(self.item(depth) for _ in range(self.random.randint(0, 4))) + "]"
        if depth < 5 and kind < 0.55:
            entries = (self.entry(depth) for _ in range(self.random.randint(0, 5)))
            return "{" + self.white() + ",".join(entries) + "}"
        if kind < 0.78:
            return self.number()
        if kind < 0.92:
            return self.string()
        return self.random.choice(["null", "true", "false"])

    def item(self, depth):
        return self.white() + self.value(depth + 1) + self.white()

    def entry(self, depth):
        key = '"' + self.random.choice(KEYS) + '"' if self.random.random() < 0.8 else self.string()
        return self.white() + key + self.white() + ":" + self.item(depth)

    def string(self):
        parts = []
        for _ in range(self.random.randint(0, 6)):
            kind = self.random.random()
            parts.append(self.random.choice(PLAIN if kind < 0.55 else ESCAPES if kind < 0.985 else WRONG))
        return '"' + "".join(parts) + '"'

    def digits(self, count):
        return str(self.random.randint(1, 9)) + "".join(self.random.choice("0123456789") for _ in range(count - 1))

    def number(self):
        kind = self.random.random()
        sign = self.random.choice(["", "-"])
        if kind < 0.2:
            # The known numbers that nothing accepts come more rarely than the others.
            return self.random.choice(NUMBERS if self.random.random() < 0.2 else NUMBERS[:30])
        if kind < 0.25:
            return sign + self.digits(self.random.choice([19, 20, 39, 40, 400, 4299, 4300, 4301]))
        if kind < 0.45:
            return sign + self.digits(self.random.randint(1, 19))
        if kind < 0.75:
            double = struct.unpack("<d", self.random.randbytes(8))[0]
            return repr(double) if double == double and abs(double) != float("inf") else "0.5"
        whole = self.random.choice(["0", self.digits(self.random.randint(1, 25))])
        part = "." + "".join(self.random.choice("0123456789") for _ in range(self.random.randint(1, 25)))
        exponent = self.random.choice(["", "e", "E", "e+", "E-", "e-"])
        exponent += str(self.random.randint(0, 330)) if exponent else ""
        return sign + whole + (part if self.random.random() < 0.8 else "") + exponent

    def nested(self):
        levels = self.random.choice([10, 127, 128, 129, 500, 899, 900, 901, 950, 5000, 100_000])
        if self.random.random() < 0.5:
            return "[" * levels + "]" * levels
        return '{"a":' * levels + "1" + "}" * levels

    def damaged(self, text):
        at = self.random.randint(0, len(text))
        kind = self.random.random()
        if kind < 0.4:
            return text[:at] + self.random.choice(INSERTED) + text[at:]
        if kind < 0.8:
            return text[:at] + text[at + 1:]
        return text[:at]


class Unfit(Exception):
    """A text without a record."""


def finite(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Unfit
    return number


def refused(_):
    raise Unfit


def pairs(pairs):
    # A value counts as unfit though a later one takes its place.
    for pair in pairs:
        encodable(pair)
    return dict(pairs)


def encodable(value):
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def levels(text):
    """How deep a text is nested; texts in quotes do not count."""
    deepest = depth = 0
    quoted = escaped = False
    for c in text:
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = quoted
        elif c == '"':
            quoted = not quoted
        elif not quoted and c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif not quoted and c in "]}":
            depth -= 1
    return deepest


def record(number, text):
    """The record as metadata.json has it, or None."""
    if levels(text) > MAX_LEVELS:
        return None
    # Values of nested objects are written once for each level otherwise.
    hook = pairs if levels(text) < 50 else None
    try:
        value = json.loads(text, parse_float=finite, parse_constant=refused, object_pairs_hook=hook)
        written = json.dumps({"id": number, "j": value}, ensure_ascii=False)
        written.encode("utf-8")
    except (ValueError, Unfit):
        return None
    return written


def main():
    database, expected, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    generator = Generator(seed)
    texts = [generator.text() for _ in range(count)]
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, j TEXT)")
        connection.executemany("INSERT INTO t (j) VALUES (?)", ([text] for text in texts))
    records = [record(number, text) for number, text in enumerate(texts, 1)]
    records = [written for written in records if written is not None]
    with open(expected, "w", encoding="utf-8", newline="") as file:
        file.write("[" + ", ".join(records) + "]")


main()
