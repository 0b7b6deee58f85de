"""The service as its operator uses it: settings, unit, journal, state; and the world around it.

`fresh` makes the shape apart: the database of another user at /srv/apart, in a
folder that every user may write to, so that no mode prevents the agent from
making a file in it; the output in the state directory.
"""

import ctypes
import json
import os
import pathlib
import pwd
import shutil
import struct
import subprocess

from claim import wait_until
from provider import Provider
from writer import Writer

UNIT = "reindexd.service"
PROGRAM = "/usr/local/bin/reindexd"
SETTINGS = pathlib.Path("/etc/reindexd/reindexd.toml")
KEY_FILE = pathlib.Path("/etc/reindexd/embedding-api-key")
KEY = "AIza-of-the-claims-0123456789"
UNITS = pathlib.Path("/etc/systemd/system")
DROP_INS = UNITS / f"{UNIT}.d"
STATE = pathlib.Path("/var/lib/reindexd")
DATA = STATE / "data"
APART = pathlib.Path("/srv/apart")
DATABASE = APART / "experts.db"
MARKER = APART / "tagging-complete"

provider = Provider()


def run(*command, check=True, user=None):
    """Runs a command to its end, as root or as another user, with both streams in `stdout`."""
    ids = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    return subprocess.run(
        command, check=check, text=True, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **ids
    )


def systemctl(*arguments, check=True):
    return run("systemctl", "--no-pager", *arguments, check=check)


def show(name, unit=UNIT):
    """One property of the unit."""
    return systemctl("show", "--value", "-p", name, unit).stdout.strip()


def main_pid(unit=UNIT):
    return int(show("MainPID", unit))


def is_active():
    return show("ActiveState") == "active"


# --- a fresh world --------------------------------------------------------------


def fresh(people=5, **settings):
    """Resets everything: the unit as shipped, stopped; this many tagged people in a database apart; no build."""
    systemctl("stop", UNIT)
    shutil.rmtree(DROP_INS, ignore_errors=True)
    systemctl("daemon-reload")
    systemctl("reset-failed", UNIT, check=False)
    shutil.rmtree(DATA, ignore_errors=True)
    KEY_FILE.write_text(f"{KEY}\n", encoding="utf-8")
    KEY_FILE.chmod(0o600)
    provider.reset()
    configure(**settings)
    shutil.rmtree(APART, ignore_errors=True)
    make_folder(APART, 0o777)
    with Writer(DATABASE) as writer:
        writer.create()
        writer.add_people(range(1, people + 1))


def make_folder(path, mode, owner="experts"):
    path.mkdir(parents=True)
    path.chmod(mode)
    shutil.chown(path, owner, owner)


def configure(**changes):
    """Writes the settings: short waits, the provider of the claims, and the changes of a claim."""
    sections = {
        "source": {"database": str(DATABASE)},
        "trigger": {"marker": str(MARKER), "quiet": "500ms", "max_wait": "5s"},
        "embedding": {"base_url": provider.url, "dimension": 16, "batch_size": 10, "concurrency": 1},
    }
    for section, keys in changes.items():
        sections[section] = keys if isinstance(keys, list) else sections.get(section, {}) | keys
    lines = []
    for section, blocks in sections.items():
        many = isinstance(blocks, list)
        for keys in blocks if many else [blocks]:
            lines.append(f"[[{section}]]" if many else f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
    # Overwritten, not replaced: owner and mode stay as they were installed.
    SETTINGS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def drop_in(name, text):
    """An operator's change of the unit."""
    DROP_INS.mkdir(exist_ok=True)
    (DROP_INS / name).write_text(text, encoding="utf-8")
    systemctl("daemon-reload")


def touch_marker(marker=MARKER, user="experts"):
    run("touch", str(marker), user=user)


# --- results -----------------------------------------------------------------------


def served(data=DATA):
    """The id of the served build, from the link alone."""
    try:
        return os.readlink(data / "current").rpartition("/")[2]
    except FileNotFoundError:
        return None


def records(data=DATA):
    """The ids of the people in the metadata, by the name that the API opens."""
    with open(data / "metadata.json", encoding="utf-8") as file:
        return [record["id"] for record in json.load(file)]


def staging(data=DATA):
    return sorted(data.glob("**/*.staging"))


def until_served(before=None, data=DATA):
    """Waits for another build than `before`, and returns its id."""
    return wait_until("a new build is served", lambda: served(data) not in (None, before) and served(data))


def until_passes(count, cursor):
    """Waits until this many passes have ended since the cursor."""
    ends = lambda: [entry for entry in journal(cursor) if "TOOK_MS" in entry]
    return wait_until(f"{count} passes ended", lambda: len(ends()) >= count and ends())


def proven(user="reindexd"):
    """Asserts that the installed program proves the served build, as the service's user."""
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    verified = subprocess.run(
        [*command, PROGRAM, "verify", "--json", "--config", str(SETTINGS)],
        cwd=STATE, capture_output=True, text=True, check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


# --- the journal -------------------------------------------------------------------


def cursor():
    """The current end of the journal."""
    run("journalctl", "--sync")
    shown = run("journalctl", "--show-cursor", "-n", "1", "-o", "cat").stdout
    return shown.rpartition("-- cursor: ")[2].strip()


def journal(since):
    """The entries of the unit since a cursor, those of the manager included."""
    entries = run("journalctl", "-u", UNIT, "-o", "json", "--all", "--after-cursor", since).stdout
    return [json.loads(line) for line in entries.splitlines()]


def messages(since):
    return "\n".join(str(entry.get("MESSAGE")) for entry in journal(since))


# --- a folder, watched ---------------------------------------------------------------


class Watched:
    """Records every name that appears in a folder, however briefly."""

    _CREATE_OR_MOVED_TO = 0x100 | 0x80

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        watch = libc.inotify_add_watch(self._descriptor, os.fsencode(folder), self._CREATE_OR_MOVED_TO)
        assert watch > 0, f"{folder}: {os.strerror(ctypes.get_errno())}"

    def names(self):
        """The names that appeared since the last call."""
        found = []
        while True:
            try:
                events = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return found
            while events:
                _, _, _, length = struct.unpack_from("iIII", events)
                found.append(os.fsdecode(events[16 : 16 + length].rstrip(b"\0")))
                events = events[16 + length :]
