#!/usr/bin/env python3
"""tag_experts.py DATABASE MARKER N: tags up to N more people, then touches the marker.

A small stand-in for the script that does this on a real host: it has the titles
of professions.ini, searches any other title for its stems, or else the bio, and
writes the tags that it finds to `tags` as a JSON list. All N people are tagged in
one transaction. The marker is touched after the commit, even if no one was left
to tag, as the last line of the real script should do.
"""

import configparser
import json
import pathlib
import re
import sqlite3
import sys

MAX_TAGS = 4


def professions():
    """professions.ini, each section as a dict with its lists split."""
    ini = configparser.ConfigParser(interpolation=None)
    with open(pathlib.Path(__file__).with_name("professions.ini"), encoding="utf-8") as file:
        ini.read_file(file)
    return [
        {
            "name": section,
            "category": ini[section]["category"],
            "rate": float(ini[section]["rate"]),
            "did": re.split(r"(?<=\.) (?=[A-Z])", ini[section]["did"]),
            **{key: ini[section][key].split("; ") for key in ("tags", "words", "titles", "for", "does")},
        }
        for section in ini.sections()
    ]


PROFESSIONS = professions()
TITLES = {title: one["tags"] for one in PROFESSIONS for title in one["titles"]}
STEMS = [
    (re.compile(r"\b(?:" + "|".join(map(re.escape, one["words"])) + ")", re.IGNORECASE), one["tags"])
    for one in PROFESSIONS
]


def tags_for(title, bio):
    """The tags of a person, those with most evidence first; at least one."""
    if title in TITLES:
        return TITLES[title]
    for text in (title, bio):
        hits = [(len(pattern.findall(text or "")), tags) for pattern, tags in STEMS]
        hits = sorted((hit for hit in hits if hit[0]), key=lambda hit: -hit[0])
        found = list(dict.fromkeys(tag for _, tags in hits for tag in tags))
        if found:
            return found[:MAX_TAGS]
    return ["generalist"]


def tag(database, limit):
    """Tags up to `limit` people in one transaction; returns how many were tagged and how many are left."""
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(
            "SELECT id, job_title, bio FROM experts WHERE tags IS NULL ORDER BY id LIMIT ?", (limit,)
        ).fetchall()
        connection.executemany(
            "UPDATE experts SET tags = ? WHERE id = ?",
            [(json.dumps(tags_for(title, bio)), number) for number, title, bio in rows],
        )
        (left,) = connection.execute("SELECT count(*) FROM experts WHERE tags IS NULL").fetchone()
        connection.execute("COMMIT")
    finally:
        connection.close()
    return len(rows), left


def main():
    if len(sys.argv) != 4 or not sys.argv[3].isdecimal():
        sys.exit("usage: tag_experts.py DATABASE MARKER N")
    database, marker, limit = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    if not pathlib.Path(database).is_file():
        sys.exit(f"{database}: no such database")
    tagged, left = tag(database, limit)
    marker.touch()
    print(f"tagged {tagged} people, {left} still without tags")


if __name__ == "__main__":
    main()
