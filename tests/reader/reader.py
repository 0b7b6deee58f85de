#!/usr/bin/env python3
"""reader.py DATA_DIR: reads the served files as the API host does, and checks that they belong together.

Prints one line. Exit 0: index and metadata belong together and answer a search,
through `current` and through the two old names. Exit 1: they do not, and the
line gives the reason.
"""

import json
import os
import sys

import faiss
import numpy

SAMPLE = 50  # vectors that must find themselves
NEIGHBOURS = 5


def load_pair(data):
    """As docs/migrating-from-ingest.md shows: resolve `current` once, open both files below it."""
    build = os.path.realpath(os.path.join(data, "current"))
    index = faiss.read_index(os.path.join(build, "faiss.index"))
    with open(os.path.join(build, "metadata.json"), encoding="utf-8") as file:
        metadata = json.load(file)
    return build, index, metadata


def load_old_names(data):
    """As an API without knowledge of `current`: one name, then the other."""
    index = faiss.read_index(os.path.join(data, "faiss.index"))
    with open(os.path.join(data, "metadata.json"), encoding="utf-8") as file:
        metadata = json.load(file)
    return index, metadata


def fault(index, metadata):
    """What is wrong with a pair, or None."""
    if index.ntotal != len(metadata):
        return f"{index.ntotal} vectors for {len(metadata)} records"
    if index.ntotal == 0:
        return "an empty index"
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        return f"metric {index.metric_type}, expected inner product"
    ids = [record["id"] for record in metadata]
    if ids != sorted(set(ids)):
        return "records that are not in the order of their ids"
    rows = numpy.unique(numpy.linspace(0, index.ntotal - 1, SAMPLE).astype(int))
    vectors = numpy.stack([index.reconstruct(int(row)) for row in rows])
    scores, labels = index.search(vectors, min(NEIGHBOURS, index.ntotal))
    for row, vector, score, label in zip(rows, vectors, scores, labels, strict=True):
        if label.min() < 0 or label.max() >= index.ntotal or len(set(label)) != len(label):
            return f"row {row} is answered with rows {label.tolist()} of {index.ntotal}"
        if not numpy.array_equal(index.reconstruct(int(label[0])), vector) or abs(score[0] - 1) > 1e-4:
            return f"row {row} does not find itself: first is row {label[0]} with score {score[0]:.6f}"
    return None


def check(data):
    """The line to print, and whether there is no fault."""
    try:
        build, index, metadata = load_pair(data)
        wrong = fault(index, metadata)
        if wrong:
            return f"{build}: {wrong}", False
        old_index, old_metadata = load_old_names(data)
        wrong = fault(old_index, old_metadata)
        if wrong:
            return f"the old names in {data}: {wrong}", False
    except (OSError, RuntimeError, ValueError) as error:
        return f"{data}: {error}", False
    name = os.path.basename(build)
    return f"{name}: {index.ntotal} vectors of {index.d}, {len(metadata)} records, search answers", True


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: reader.py DATA_DIR")
    line, well = check(sys.argv[1])
    print(line)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
