#!/usr/bin/env python3
"""ingest_like.py DATABASE VECTORS INDEX METADATA: writes what ingest.py would have written.

Reads the tagged rows of `experts`, and one raw vector per row, in id order, from
a file of JSON lines; normalises with Faiss, writes a flat inner-product index to
a staging file, renames it over INDEX, and only then writes METADATA in place.
That order is imitated too: tests of parity and of adoption need a host on which
ingest.py has run, or has run again over the links of reindexd.
"""

import json
import os
import pathlib
import sqlite3
import sys

import faiss
import numpy

KEYS = {
    "id": "id",
    "username": "username",
    "first_name": "First Name",
    "last_name": "Last Name",
    "job_title": "Job Title",
    "company": "Company",
    "bio": "Bio",
    "hourly_rate": "Hourly Rate",
    "currency": "Currency",
    "profile_url": "Profile URL",
    "profile_url_utm": "Profile URL with UTM",
    "tags": "tags",
    "findability_score": "findability_score",
    "category": "category",
}


def records(database):
    """The tagged rows as in the metadata, with parsed tags."""
    connection = sqlite3.connect(f"{pathlib.Path(database).resolve().as_uri()}?mode=rw", uri=True)
    try:
        rows = connection.execute(
            f"SELECT {', '.join(KEYS)} FROM experts WHERE tags IS NOT NULL ORDER BY id"
        ).fetchall()
    finally:
        connection.close()
    found = [dict(zip(KEYS.values(), row, strict=True)) for row in rows]
    for record in found:
        record["tags"] = json.loads(record["tags"] or "[]")
    return found


def write_index(vectors, path):
    """Writes the index first, through a staging file whose count is asserted."""
    vectors = numpy.array(vectors, dtype="float32")
    faiss.normalize_L2(vectors)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    staging = pathlib.Path(path).with_suffix(".staging")
    faiss.write_index(index, str(staging))
    assert faiss.read_index(str(staging)).ntotal == len(vectors)
    os.replace(staging, path)


def main():
    if len(sys.argv) != 5:
        sys.exit("usage: ingest_like.py DATABASE VECTORS INDEX METADATA")
    database, vectors, index, metadata = sys.argv[1:]
    people = records(database)
    with open(vectors, encoding="utf-8") as file:
        vectors = [json.loads(line) for line in file if line.strip()]
    if not people or len(people) != len(vectors):
        sys.exit(f"{len(people)} tagged rows but {len(vectors)} vectors")
    write_index(vectors, index)
    with open(metadata, "w", encoding="utf-8") as file:
        json.dump(people, file, ensure_ascii=False, indent=None, default=str)
    print(json.dumps({"records": len(people)}))


if __name__ == "__main__":
    main()
