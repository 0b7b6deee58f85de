#!/usr/bin/env python3
"""load.py DATABASE: makes a database of the sample experts, in WAL mode.

Table and index come from ../schema.sql, the rows from experts.csv, where an
empty field stands for NULL. If the file exists, the script fails and does not
change it: it may have real data.
"""

import csv
import pathlib
import sqlite3
import sys

HERE = pathlib.Path(__file__).parent
NUMBERS = {"id": int, "hourly_rate": float, "findability_score": float}


def rows():
    """The columns' names, then each row of the CSV with its numbers as numbers."""
    with open(HERE / "experts.csv", encoding="utf-8", newline="") as file:
        table = csv.reader(file)
        columns = next(table)
        yield columns
        kinds = [NUMBERS.get(column, str) for column in columns]
        for row in table:
            yield [kind(value) if value else None for kind, value in zip(kinds, row, strict=True)]


def load(database):
    """Makes the database; returns how many people it has, and how many of them are tagged."""
    table = rows()
    columns = next(table)
    connection = sqlite3.connect(database)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((HERE.parent / "schema.sql").read_text(encoding="utf-8"))
        with connection:
            connection.executemany(
                f"INSERT INTO experts ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", table
            )
        return connection.execute("SELECT count(*), count(tags) FROM experts").fetchone()
    finally:
        connection.close()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: load.py DATABASE")
    database = pathlib.Path(sys.argv[1])
    if database.exists():
        sys.exit(f"{database} exists and is left as it is; name a file that does not exist")
    database.parent.mkdir(parents=True, exist_ok=True)
    people, tagged = load(database)
    print(f"{database}: {people} people, {tagged} of them tagged")


if __name__ == "__main__":
    main()
