#!/usr/bin/env python3
"""loop.py DATA_DIR SECONDS|STOPFILE: reads the served files repeatedly while builds are promoted.

Ends after SECONDS, or when STOPFILE exists (at the latest after ten minutes),
and prints one JSON object:

  passes     times that `current` was resolved and both files below it were read
  builds     ids of the builds seen, in the order seen
  mixed      passes in which index, metadata and manifest did not agree
  missing    times that an old name that existed before led nowhere
  errors     passes that ended in an error
  straddled  times that the two old names led to two builds: allowed, README says why
  fault      the first fault, or null

Exit 1 if anything was mixed, missing or an error. "reading" on standard error
means that the first pass is over.
"""

import json
import os
import sys
import time

import faiss
import reader

FILES = ("faiss.index", "metadata.json")
MAX_SECONDS = 600.0
CHECKS = 50  # of the old names, for each time the files are read


class Counts:
    """What was seen so far."""

    def __init__(self):
        self.passes = self.mixed = self.missing = self.errors = self.straddled = 0
        self.builds = []
        self.fault = None

    def wrong(self, kind, what):
        setattr(self, kind, getattr(self, kind) + 1)
        self.fault = self.fault or what


def read_once(data, counts):
    """One pass through `current`: the files of the folder that it led to must belong together."""
    try:
        build, index, metadata = reader.load_pair(data)
        with open(os.path.join(build, "manifest.json"), encoding="utf-8") as file:
            manifest = json.load(file)
        found = (manifest["id"], manifest["ntotal"], index.ntotal, len(metadata))
        sizes = {name: os.path.getsize(os.path.join(build, name)) for name in FILES}
        promised = {name: manifest["files"][name]["bytes"] for name in FILES}
    except (OSError, RuntimeError, ValueError, LookupError) as error:
        counts.wrong("errors", f"{type(error).__name__}: {error}")
        return
    counts.passes += 1
    name = os.path.basename(build)
    if name not in counts.builds:
        counts.builds.append(name)
    if found != (name, index.ntotal, index.ntotal, index.ntotal) or sizes != promised:
        manifest = f"manifest {found[0]} of {found[1]} with {promised}"
        counts.wrong("mixed", f"{name}: {manifest}, {found[2]} vectors, {found[3]} records, {sizes}")


def check_names(names, seen, counts):
    """Follows both old names to their files; a name that existed must never be missing."""
    for name in names:
        try:
            os.stat(name)
            seen.add(name)
        except FileNotFoundError:
            if name in seen:
                counts.wrong("missing", f"{name} is gone")
    if len({os.path.dirname(os.path.realpath(name)) for name in names}) > 1:
        counts.straddled += 1


def over(until, began):
    """Whether to stop: `until` is a number of seconds, or a path that will exist."""
    passed = time.monotonic() - began
    if isinstance(until, float):
        return passed >= until
    return passed >= MAX_SECONDS or os.path.exists(until)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: loop.py DATA_DIR SECONDS|STOPFILE")
    data, until = sys.argv[1], sys.argv[2]
    try:
        until = float(until)
    except ValueError:
        pass
    faiss.omp_set_num_threads(1)
    names = [os.path.join(data, name) for name in FILES]
    counts, seen, began = Counts(), set(), time.monotonic()
    published = begun = False
    while True:
        last = over(until, began)
        for _ in range(CHECKS):
            check_names(names, seen, counts)
        published = published or os.path.exists(os.path.join(data, "current"))
        if published:
            read_once(data, counts)
        if not begun:
            print("reading", file=sys.stderr, flush=True)
            begun = True
        if last:
            break
    print(json.dumps(vars(counts)))
    sys.exit(1 if counts.mixed or counts.missing or counts.errors else 0)


if __name__ == "__main__":
    main()
