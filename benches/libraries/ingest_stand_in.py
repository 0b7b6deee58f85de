"""Does what ingest.py did, and less: every run embeds every tagged row again.

One request at a time, as there, but without its half second between them,
without SQLAlchemy and without a client library: it measures a lower limit of the
time of the script. The index is renamed into place, the metadata is written in
place.
"""

import json
import os
import sys

import bench_rows
import faiss


def main(database, folder, address):
    pairs = bench_rows.tagged_rows(database)
    vectors = bench_rows.Embedder(address, concurrent_requests=1).embed([text for text, _ in pairs])
    index = faiss.IndexFlatIP(bench_rows.DIMENSION)
    index.add(vectors)
    assert index.ntotal == len(pairs)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "faiss.index")
    faiss.write_index(index, path + ".staging")
    os.replace(path + ".staging", path)
    with open(os.path.join(folder, "metadata.json"), "w", encoding="utf-8") as file:
        json.dump([record for _, record in pairs], file, ensure_ascii=False, default=str)
    bench_rows.report(len(pairs), index.ntotal)


if __name__ == "__main__":
    main(*sys.argv[1:])
