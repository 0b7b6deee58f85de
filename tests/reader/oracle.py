#!/usr/bin/env python3
"""What ingest.py makes from a database: the reference of the parity test.

    python3 oracle.py DATABASE METADATA_OUT TEXTS_OUT

METADATA_OUT gets the bytes of metadata.json, TEXTS_OUT the document texts in
the same order: one JSON string per line, ASCII only, so that no character in a
text can end its line.

Written from the documented behaviour of ingest.py and with the standard library
only, so that json, repr and strip are those that made the existing files. A row
that would have ended ingest.py with an error is in neither file and is named on
standard error. Rows that ingest.py accepted and reindexd refuses (tags that are
`{}`, `0` or `false`, infinities, BLOBs) are kept.
"""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

# The columns of a row, in order, and their keys in metadata.json.
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


class StoredText(bytes):
    """A TEXT value before it is known to be UTF-8; its type distinguishes it from a BLOB."""


def tagged_rows(database):
    """Yields every tagged row by id, with texts not yet decoded."""
    address = Path(database).resolve().as_uri() + "?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        connection.text_factory = StoredText
        yield from connection.execute(
            f"SELECT {', '.join(KEYS)} FROM experts WHERE tags IS NOT NULL ORDER BY id"
        )


def record_of(row):
    """The dict that ingest.py dumps for one row."""
    values = [value.decode("utf-8") if isinstance(value, StoredText) else value for value in row]
    record = dict(zip(KEYS.values(), values))
    record["tags"] = json.loads(record["tags"] or "[]")
    return record


def text_of(record):
    """The text that ingest.py sends to the embedder for one record."""

    def field(key):
        return (record[key] or "").strip()

    parts = []
    name = f"{field('First Name')} {field('Last Name')}".strip()
    if name:
        parts.append(f"{name}.")
    title, company = field("Job Title"), field("Company")
    if title and company:
        parts.append(f"{title} at {company}.")
    elif title:
        parts.append(f"{title}.")
    elif company:
        parts.append(f"Works at {company}.")
    if bio := field("Bio"):
        parts.append(bio)
    if tags := record["tags"]:
        parts.append(f"Domains: {', '.join(tags)}.")

    text = " ".join(parts) if parts else record["username"]
    if not isinstance(text, str) or not text:
        raise ValueError(f"no document text, the embedder refuses {text!r}")
    return text


def dumped(record):
    """The bytes of one record in metadata.json."""
    return json.dumps(record, ensure_ascii=False, default=str).encode("utf-8")


def main(database, metadata_out, texts_out):
    records, texts = [], []
    for row in tagged_rows(database):
        try:
            record = record_of(row)
            text = text_of(record)
            dumped(record)
        except (AttributeError, RecursionError, TypeError, ValueError) as fault:
            print(f"unfit: row id={row[0]!r}: {type(fault).__name__}: {fault}", file=sys.stderr)
            continue
        records.append(record)
        texts.append(text)

    # ingest.py dumps the whole list at once; no newline at its end.
    Path(metadata_out).write_bytes(dumped(records))
    Path(texts_out).write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="ascii")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: oracle.py DATABASE METADATA_OUT TEXTS_OUT")
    main(*sys.argv[1:])
