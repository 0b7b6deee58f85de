#!/usr/bin/env python3
"""compare_index.py A B: compares two index files with Faiss, and prints one JSON object.

`a` and `b` have ntotal, d, metric and type; `same_bytes` says whether the files
are equal, and `largest_difference` is that of any component of any vector, or
null if the two cannot be compared: another shape, or a component that is not a
number. Always exit 0 if both could be read: the caller decides.
"""

import json
import pathlib
import sys

import faiss
import numpy

METRICS = {faiss.METRIC_INNER_PRODUCT: "inner_product", faiss.METRIC_L2: "l2"}
ROWS = 10_000  # compared at a time, to use little memory


def described(index):
    metric = METRICS.get(index.metric_type, str(index.metric_type))
    return {"ntotal": index.ntotal, "d": index.d, "metric": metric, "type": type(index).__name__}


def largest_difference(a, b):
    if (a.ntotal, a.d) != (b.ntotal, b.d):
        return None
    largest = 0.0
    for first in range(0, a.ntotal, ROWS):
        count = min(ROWS, a.ntotal - first)
        gap = numpy.abs(a.reconstruct_n(first, count) - b.reconstruct_n(first, count)).max()
        if not numpy.isfinite(gap):
            return None
        largest = max(largest, float(gap))
    return largest


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: compare_index.py A B")
    paths = [pathlib.Path(path) for path in sys.argv[1:]]
    a, b = (faiss.read_index(str(path)) for path in paths)
    print(json.dumps({
        "a": described(a),
        "b": described(b),
        "same_bytes": paths[0].read_bytes() == paths[1].read_bytes(),
        "largest_difference": largest_difference(a, b),
    }))


if __name__ == "__main__":
    main()
