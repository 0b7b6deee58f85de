"""Several tables on one host: an instance of the unit for each."""

import json
import pathlib
import shutil
import sys

from claim import claim, equal, wait_until
from service import (
    APART, KEY, fresh, main_pid, provider, run, served, show, systemctl, until_served,
)

TABLES = ["articles", "notes"]
DATABASE = APART / "pages.db"


def unit(table):
    return f"reindexd@{table}.service"


def state(table):
    return pathlib.Path(f"/var/lib/reindexd-{table}")


def configure(table):
    """Settings of one instance, and its key."""
    settings = pathlib.Path(f"/etc/reindexd/{table}.toml")
    settings.write_text(
        f"""directory = {json.dumps(str(state(table)))}
[source]
database = {json.dumps(str(DATABASE))}
table = "{table}"
[document]
template = "{{{{ title }}}}"
[trigger]
quiet = "500ms"
max_wait = "5s"
[embedding]
base_url = {json.dumps(provider.url)}
dimension = 16
""",
        encoding="utf-8",
    )
    settings.chmod(0o640)
    shutil.chown(settings, "root", "reindexd")
    key = pathlib.Path(f"/etc/reindexd/embedding-api-key-{table}")
    key.write_text(f"{KEY}\n", encoding="utf-8")
    key.chmod(0o600)


def write(sql):
    """A commit of the database's owner."""
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.close()"
    run(sys.executable, "-c", script, str(DATABASE), sql, user="experts")


def titles(table):
    with open(state(table) / "data/metadata.json", encoding="utf-8") as file:
        return [record["title"] for record in json.load(file)]


@claim("two instances keep two tables of one database, each with settings, key and directory of its own")
def two_tables():
    fresh()
    for table in TABLES:
        configure(table)
    write(
        "CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT); INSERT INTO articles VALUES (1, 'A');"
        "CREATE TABLE notes (id TEXT PRIMARY KEY, title TEXT); INSERT INTO notes VALUES ('n', 'N');"
    )
    systemctl("start", *map(unit, TABLES))
    first = {table: until_served(data=state(table) / "data") for table in TABLES}
    equal([titles(table) for table in TABLES], [["A"], ["N"]])
    users = {show("User", unit(table)) for table in TABLES}
    equal(users, {"reindexd"})
    assert main_pid(unit("articles")) != main_pid(unit("notes")), "one process"
    others = [path for path in APART.iterdir() if path.owner() != "experts"]
    equal([str(path) for path in others], [], "files of other users beside the database")

    write("INSERT INTO notes VALUES ('o', 'O')")
    until_served(first["notes"], data=state("notes") / "data")
    equal(titles("notes"), ["N", "O"])
    equal(served(state("articles") / "data"), first["articles"], "the other table's build")
    systemctl("stop", *map(unit, TABLES))
    equal([show("Result", unit(table)) for table in TABLES], ["success", "success"])


@claim("an instance can write its own directory and not that of another")
def apart_from_each_other():
    fresh()
    for table in TABLES:
        configure(table)
    write("CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT); INSERT INTO articles VALUES (1, 'A')")
    systemctl("start", unit("articles"))
    until_served(data=state("articles") / "data")
    state("notes").mkdir(exist_ok=True)
    shutil.chown(state("notes"), "reindexd", "reindexd")
    inside = ["nsenter", f"--mount=/proc/{main_pid(unit('articles'))}/ns/mnt", "touch"]
    for table, expected in [("articles", 0), ("notes", 1)]:
        tried = run(*inside, str(state(table) / "probe"), check=False)
        equal(tried.returncode, expected, f"{table}: {tried.stdout}")
    (state("articles") / "probe").unlink()
    systemctl("stop", unit("articles"))
