#!/usr/bin/env python3
"""mapped.py DATA_DIR STOPFILE GRACE: maps the served index while builds are promoted and collected.

An API that maps its index may keep it for any time. So this one keeps a few of
the pairs that it opened until their builds have been collected, and then
searches them again: the answers must be the same.

Ends when STOPFILE exists (at the latest after ten minutes) and prints one
JSON object:

  opened    pairs opened through `current`, the index mapped
  searched  searches answered
  outlived  pairs that answered as before after their builds were collected
  late      files missing more than GRACE seconds after `current` was resolved
  builds    ids of the builds seen
  faults    the first few faults

"reading" on standard error means that the first pair is open.
"""

import json
import os
import sys
import time

import faiss
import numpy
import reader

# IO_FLAG_MMAP alone maps inverted lists only; a flat index is mapped with this one.
MAPPED = faiss.IO_FLAG_MMAP_IFC
MAX_SECONDS = 600.0
KEPT = 8  # pairs kept at a time
EVERY = 0.25  # seconds between two kept pairs


class Pair:
    """An index that is mapped and its metadata, both below one resolved `current`."""

    def __init__(self, build):
        self.build = build
        self.index = faiss.read_index(os.path.join(build, "faiss.index"), MAPPED)
        with open(os.path.join(build, "metadata.json"), encoding="utf-8") as file:
            self.metadata = json.load(file)
        with open(os.path.join(build, "manifest.json"), encoding="utf-8") as file:
            self.manifest = json.load(file)
        self.since = time.monotonic()
        self.answers = self.ask()

    def ask(self):
        """The results for some vectors of the index itself."""
        vectors = self.index.reconstruct_n(0, min(self.index.ntotal, 5))
        scores, labels = self.index.search(vectors, 3)
        return vectors.copy(), scores, labels

    def fault(self):
        """Why the two do not belong together, or None."""
        found = (os.path.basename(self.build), self.index.ntotal, len(self.metadata))
        promised = (self.manifest["id"], self.manifest["ntotal"], self.manifest["ntotal"])
        if found != promised:
            return f"{found}, but the manifest has {promised}"
        return reader.fault(self.index, self.metadata)

    def is_mapped(self):
        """Whether the system has the index file in this process's memory."""
        with open("/proc/self/maps", encoding="utf-8") as maps:
            return any(os.path.join(self.build, "faiss.index") in line for line in maps)

    def is_collected(self):
        return not os.path.exists(self.build)

    def answers_as_before(self):
        return all(numpy.array_equal(now, then) for now, then in zip(self.ask(), self.answers, strict=True))


class Seen:
    """What was seen so far."""

    def __init__(self, grace):
        self.opened = self.searched = self.outlived = self.late = 0
        self.builds = []
        self.faults = []
        self._grace = grace

    def wrong(self, what):
        if len(self.faults) < 5:
            self.faults.append(what)

    def open(self, data):
        """Opens the served pair; None if it could not be opened."""
        began = time.monotonic()
        build = os.path.realpath(os.path.join(data, "current"))
        try:
            pair = Pair(build)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            if time.monotonic() - began > self._grace and not os.path.exists(build):
                self.late += 1
            else:
                self.wrong(f"{type(error).__name__}: {error}")
            return None
        self.opened += 1
        self.searched += 1
        name = os.path.basename(build)
        if name not in self.builds:
            self.builds.append(name)
        fault = pair.fault() or (None if pair.is_mapped() else "the index is not mapped")
        if fault:
            self.wrong(f"{name}: {fault}")
        return pair

    def search_again(self, pair):
        """Searches a pair whose build has been collected."""
        self.searched += 1
        if pair.answers_as_before():
            self.outlived += 1
        else:
            self.wrong(f"{os.path.basename(pair.build)}: other answers after it was collected")


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: mapped.py DATA_DIR STOPFILE GRACE")
    data, stop, grace = sys.argv[1], sys.argv[2], float(sys.argv[3])
    faiss.omp_set_num_threads(1)
    seen, kept, began = Seen(grace), [], time.monotonic()
    while time.monotonic() - began < MAX_SECONDS and not os.path.exists(stop):
        pair = seen.open(data)
        if seen.opened == 1 and not kept:
            print("reading", file=sys.stderr, flush=True)
        if pair and len(kept) < KEPT and (not kept or pair.since - kept[-1].since > EVERY):
            kept.append(pair)
        for gone in [pair for pair in kept if pair.is_collected()]:
            kept.remove(gone)
            seen.search_again(gone)
    print(json.dumps({name: value for name, value in vars(seen).items() if not name.startswith("_")}))


if __name__ == "__main__":
    main()
