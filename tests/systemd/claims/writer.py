"""Another user's program that writes the database, as tag_experts.py does.

A process of its own that keeps its connection open between two commits: the
claims are about who writes, and whether another process has the database open.
Run as a program, it executes the commands on standard input.
"""

import json
import os
import pathlib
import pwd
import sqlite3
import subprocess
import sys

ADD = """INSERT INTO experts (id, username, first_name, last_name, job_title, company, bio, tags)
         VALUES (?1, 'user' || ?1, 'First' || ?1, 'Last' || ?1, 'Title', 'Company', 'Bio of ' || ?1 || '.', ?2)"""
SCHEMA = pathlib.Path(__file__).parents[3] / "data/schema.sql"
TAGS = '["one", "two"]'


class Writer:
    """A connection of a user to a database."""

    def __init__(self, database, user="experts", journal="wal"):
        command = [sys.executable, __file__, str(database), user, journal]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, umask=0o022)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Closes normally: the last connection removes the log."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def create(self):
        """Makes the empty table."""
        self._send("executescript", SCHEMA.read_text(encoding="utf-8"))

    def sql(self, statement):
        """Executes one statement; a transaction may stay open."""
        self._send("execute", statement)

    def add_people(self, ids, tags=TAGS):
        self._for_each(ADD, [[id, tags] for id in ids])

    def tag(self, ids):
        self._for_each("UPDATE experts SET tags = ?2 WHERE id = ?1", [[id, TAGS] for id in ids])

    def _for_each(self, statement, rows):
        """One statement for many rows, in one commit."""
        self.sql("BEGIN IMMEDIATE")
        self._send("executemany", statement, rows)
        self.sql("COMMIT")

    def _send(self, *command):
        print(json.dumps(command), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        assert answer == "done", f"the writer failed: {answer}"


def become(user):
    """Becomes another user. Not before: that user may have no access to this Python."""
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def main(database, user, journal):
    become(user)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    for line in sys.stdin:
        try:
            method, *arguments = json.loads(line)
            getattr(connection, method)(*arguments)
            print("done", flush=True)
        except sqlite3.Error as error:
            print(error, flush=True)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
