"""The weaknesses that the package cwe2 ships, as three tables, and the metadata that Python makes of them.

    weaknesses.py make DATABASE FOLDER
    weaknesses.py check DATABASE METADATA SIZE

`make` fills the tables articles, examples and notes, and writes to the folder
what json.dump gives for the settings of the test. `check` reads metadata of
articles that were cut into chunks: bytes, records, and that the chunks of a
body are its own characters, in order, and leave out nothing but white space.
"""

import csv
import importlib.resources
import itertools
import json
import re
import sqlite3
import sys

VIEW = "database_v49/helpful_views/2000.csv"
PARTS = ["Description", "Extended Description", "Background Details", "Common Consequences", "Detection Methods",
         "Potential Mitigations", "Observed Examples", "Notes"]


def weaknesses():
    with importlib.resources.files("cwe2").joinpath(VIEW).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def related(row):
    """[{"NATURE": …, "CWE ID": …}, …] of ::NATURE:…:CWE ID:…::."""
    fields = re.compile(r"(NATURE|CWE ID|VIEW ID|ORDINAL):([^:]*)")
    found = [dict(fields.findall(part)) for part in row["Related Weaknesses"].split("::") if part]
    return [{"id": int(entry["CWE ID"]), "nature": entry["NATURE"]} for entry in found]


def examples(row):
    pattern = re.compile(r"REFERENCE:(.*?):DESCRIPTION:(.*?):LINK:(.*)", re.DOTALL)
    return [found.groups() for part in row["Observed Examples"].split("::") if (found := pattern.match(part))]


def make(database, folder):
    connection = sqlite3.connect(database)
    connection.executescript("""
        CREATE TABLE articles (id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT, related, likelihood TEXT, body TEXT);
        CREATE TABLE examples (weakness INT, n INT, cve TEXT, description TEXT, link TEXT, PRIMARY KEY (weakness, n))
            WITHOUT ROWID;
        CREATE VIRTUAL TABLE notes USING fts5(title, body);
    """)
    for row in weaknesses():
        number, name = int(row["CWE-ID"]), row["Name"]
        body = "\n\n".join(row[part] for part in PARTS if row[part])
        connection.execute("INSERT INTO articles VALUES (?, ?, ?, ?, ?, ?)", (
            f"CWE-{number}", name, row["Status"], json.dumps(related(row)),
            row["Likelihood of Exploit"] or None, body))
        connection.executemany("INSERT INTO examples VALUES (?, ?, ?, ?, ?)", (
            (number, n, cve, description, link) for n, (cve, description, link) in enumerate(examples(row))))
        connection.execute("INSERT INTO notes (rowid, title, body) VALUES (?, ?, ?)", (number, name, row["Description"]))
    connection.commit()
    expect(connection, folder + "/examples.json", ["weakness", "n", "cve", "Text", "name"], """
        SELECT e.weakness, e.n, e.cve, e.description, a.name FROM examples e
        JOIN articles a ON a.id = 'CWE-' || e.weakness ORDER BY e.weakness, e.n""")
    expect(connection, folder + "/notes.json", ["title", "body"],
           "SELECT title, body FROM notes WHERE notes MATCH 'title : injection' ORDER BY rowid")
    connection.close()


def expect(connection, path, keys, query):
    records = [dict(zip(keys, row)) for row in connection.execute(query)]
    with open(path, "w", encoding="utf-8", newline="") as file:
        json.dump(records, file, ensure_ascii=False)


def check(database, metadata, size):
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT id, name, likelihood, related, body FROM articles ORDER BY id").fetchall()
    with open(metadata, encoding="utf-8", newline="") as file:
        written = file.read()
    entries = json.loads(written)
    assert json.dumps(entries, ensure_ascii=False) == written, "other bytes than json.dump's"
    grouped = [list(group) for _, group in itertools.groupby(entries, key=lambda entry: entry["id"])]
    assert len(grouped) == len(rows), (len(grouped), len(rows))
    for (id, name, likelihood, stored, body), chunks in zip(rows, grouped):
        end = 0
        for index, entry in enumerate(chunks):
            place = entry.pop("chunk")
            assert entry == {"id": id, "Name": name, "likelihood": likelihood, "related": json.loads(stored)}, entry
            assert (place["index"], place["of"]) == (index, len(chunks)), (id, place)
            assert 0 < place["end"] - place["start"] <= size, (id, place)
            assert place["start"] <= end or not body[end:place["start"]].strip(), (id, place)
            assert place["end"] > end and body[place["start"]:place["end"]].strip() == body[place["start"]:place["end"]]
            end = place["end"]
        assert not body[end:].strip(), id
    print(json.dumps({"rows": len(rows), "chunks": len(entries), "longest": max(len(row[4]) for row in rows)}))


if sys.argv[1] == "make":
    make(sys.argv[2], sys.argv[3])
else:
    check(sys.argv[2], sys.argv[3], int(sys.argv[4]))
