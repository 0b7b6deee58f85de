"""The service in normal operation: start, builds, status, journal, limits."""

import os
import pathlib
import pwd
import time

from api import Api
from claim import claim, equal, wait_until
from service import (
    APART, DATA, DATABASE, MARKER, UNIT, Watched, configure, cursor, drop_in, fresh, is_active, journal,
    main_pid, messages, proven, provider, run, served, show, systemctl, touch_marker, until_served,
)
from writer import Writer


@claim("start waits until the first scan has ended, and no longer")
def start_waits_for_ready():
    fresh(people=25)
    provider.answer_only(1)
    with Writer(DATABASE, journal="delete") as writer:
        writer.sql("BEGIN EXCLUSIVE")
        systemctl("start", "--no-block", UNIT)
        wait_until("the agent runs", main_pid)
        time.sleep(0.5)  # enough time for what must not happen
        equal(show("ActiveState"), "activating", "while the table cannot be read")
        writer.sql("COMMIT")
    systemctl("start", UNIT)
    assert is_active(), show("ActiveState")
    equal((show("WatchdogUSec"), show("RestartUSec")), ("30s", "2s"), "WatchdogSec and RestartSec as shipped")
    equal(served(), None, "a build, though the provider holds its answers")
    provider.answer_all()
    until_served()


@claim("another user's commits in WAL mode, then the marker: the API answers with the new people")
def tagged_then_served():
    fresh()
    with Api(DATA) as api:
        target = {"post": f"{api.url}/admin/reload", "confirm": f"{api.url}/health"}
        configure(trigger={"on": ["marker"]}, announce=[target])
        systemctl("start", UNIT)
        first = until_served()
        wait_until("the API serves the first build", lambda: api.build() == first)
        with Writer(DATABASE) as writer:
            writer.add_people(range(6, 9), tags=None)
            writer.tag([6, 7, 8])
            touch_marker()
            second = until_served(first)
            wait_until("the API serves the second build", lambda: api.build() == second)
        equal(api.people(), list(range(1, 9)), "the people whom a search finds")
    equal(sum(provider.embedded.values()), 8, "embedded texts")
    proven()


@claim("systemctl status shows the stage, its progress and the served build")
def status_text():
    fresh(people=30)
    # The status is updated with each watchdog message, which comes twice in this time.
    drop_in("watchdog.conf", "[Service]\nWatchdogSec=1s\n")
    provider.answer_only(1)
    systemctl("start", UNIT)
    wait_until("texts are being embedded", lambda: show("StatusText").startswith("embed 33 %, 10 of 30"))
    assert show("StatusText").endswith("serving nothing yet"), show("StatusText")
    provider.answer_all()
    build = until_served()
    text = f"serving {build} with 30 records"
    wait_until("the new build is in the status", lambda: text in show("StatusText"))
    wait_until("it waits for changes", lambda: show("StatusText").startswith("idle"))


@claim("the journal has levels, and of each build its id, counts and time as fields")
def journal_fields():
    fresh(people=7)
    begun = cursor()
    systemctl("start", UNIT)
    build = until_served()
    of_build = lambda entry: entry.get("BUILD") == build and "TOOK_MS" in entry
    entry = wait_until("the build's entry", lambda: next(filter(of_build, journal(begun)), None))
    equal((entry["RECORDS"], entry["EMBEDDED"], entry["PRIORITY"]), ("7", "7", "6"), "RECORDS, EMBEDDED, PRIORITY")
    assert int(entry["TOOK_MS"]) >= 0, entry["TOOK_MS"]
    by_field = run("journalctl", "-o", "cat", f"BUILD={build}").stdout
    assert entry["MESSAGE"] in by_field, by_field
    assert f"build={build} records=7" in entry["MESSAGE"], entry["MESSAGE"]
    wait_until("a change of state has its line", lambda: "agent: state entered (state=idle" in messages(begun))

    configure(guard={"max_texts": 1})
    systemctl("reload", UNIT)
    with Writer(DATABASE) as writer:
        writer.add_people([8, 9])
    is_refusal = lambda entry: "outcome=refused" in entry["MESSAGE"] and entry["PRIORITY"] == "4"
    wait_until("a refusal is a warning", lambda: any(map(is_refusal, journal(begun))))


@claim("in the shape apart no file is ever created next to the database, though the folder allows it")
def nothing_next_to_the_database():
    fresh()
    watched = Watched(APART)
    systemctl("start", UNIT)
    build = until_served()
    equal(watched.names(), [], "files made while no writer had the database open")
    with Writer(DATABASE) as writer:
        writer.add_people([6])
        build = until_served(build)
    with Writer(DATABASE) as writer:
        writer.add_people([7])
    touch_marker()
    until_served(build)
    theirs = {"experts.db-wal", "experts.db-shm", MARKER.name}
    made = set(watched.names())
    assert made <= theirs, f"{made - theirs} were created"
    systemctl("restart", UNIT)
    equal(watched.names(), [], "files made by a restart")
    equal(sorted(path.name for path in APART.iterdir()), ["experts.db", MARKER.name])
    # No other program could either: in its mount namespace not even root may write there.
    tried = run("nsenter", "-t", str(main_pid()), "--mount", "touch", str(APART / "stray"), check=False)
    assert "Read-only file system" in tried.stdout, tried.stdout or "the folder can be written to"


@claim("the agent has no capability, gains no privilege, and its system calls are filtered")
def confined():
    fresh()
    systemctl("start", UNIT)
    lines = pathlib.Path(f"/proc/{main_pid()}/status").read_text(encoding="utf-8").splitlines()
    status = dict(line.split(":\t", 1) for line in lines)
    found = {name: status[name] for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
    equal(found, {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"})
    equal(os.stat(f"/proc/{main_pid()}").st_uid, pwd.getpwnam("reindexd").pw_uid, "user")
