"""Where `make install` puts files, and how the manager rates the unit before it runs."""

import grp
import pathlib
import pwd

from claim import claim, equal, wait_until
from service import (
    KEY_FILE, PROGRAM, SETTINGS, UNIT, UNITS, cursor, fresh, is_active, journal, messages, records, run,
    show, systemctl, until_served,
)

EXAMPLES = pathlib.Path("/usr/local/share/doc/reindexd")


def owner(path):
    at = path.stat()
    return f"{pwd.getpwuid(at.st_uid).pw_name}:{grp.getgrgid(at.st_gid).gr_name} {at.st_mode & 0o7777:04o}"


@claim("make install puts program, unit, user and settings where they belong")
def installed():
    run("systemd-sysusers", "--inline", "u experts -")
    run("make", "-C", "/source", "install")
    equal(owner(pathlib.Path(PROGRAM)), "root:root 0755", PROGRAM)
    equal(owner(SETTINGS.parent), "root:reindexd 0750", SETTINGS.parent)
    equal(owner(SETTINGS), "root:reindexd 0640", SETTINGS)
    equal(show("LoadState"), "loaded", UNIT)


@claim("make install again leaves the settings as the operator wrote them")
def installed_again():
    SETTINGS.write_text("# mine\n", encoding="utf-8")
    run("make", "-C", "/source", "install")
    equal(SETTINGS.read_text(encoding="utf-8"), "# mine\n", SETTINGS)
    equal(owner(SETTINGS), "root:reindexd 0640", SETTINGS)


@claim("systemd-analyze verify accepts the unit and the examples")
def verified():
    for file in [UNITS / UNIT, UNITS / "reindexd@.service", EXAMPLES / "reindexd-served.path", EXAMPLES / "reindexd-served.service"]:
        result = run("systemd-analyze", "verify", str(file), check=False)
        equal((result.returncode, result.stdout), (0, ""), file)


@claim("systemd-analyze security rates the units 1.2 or better")
def exposure():
    for unit in [UNIT, "reindexd@.service"]:
        rated = run(
            "systemd-analyze", "security", "--offline=true", "--threshold=12", str(UNITS / unit), check=False
        )
        assert rated.returncode == 0, rated.stdout.splitlines()[-1]


@claim("settings that are refused end the unit with 2, and it is not restarted")
def refused_settings():
    fresh(trigger={"quite": "1s"})
    begun = cursor()
    started = systemctl("start", UNIT, check=False)
    assert started.returncode != 0, "it started"
    wait_until("the unit has failed", lambda: show("ActiveState") == "failed")
    equal((show("ExecMainStatus"), show("NRestarts")), ("2", "0"), "exit status and restarts")
    named = [entry["PRIORITY"] for entry in journal(begun) if "trigger.quite" in str(entry["MESSAGE"])]
    assert "3" in named, f"the unknown key is not named as an error: {messages(begun)}"


@claim("without a key file, a provider that needs no key starts and builds")
def no_key_file():
    fresh(people=3, embedding={"provider": "local", "dimension": None, "base_url": None})
    KEY_FILE.unlink()
    systemctl("start", UNIT)
    until_served()
    equal(records(), [1, 2, 3])


@claim("without a key file, a provider that needs one says so, and the unit stays up")
def no_key_for_gemini():
    fresh()
    KEY_FILE.unlink()
    begun = cursor()
    systemctl("start", UNIT)
    wait_until("the missing key is named", lambda: "GOOGLE_API_KEY" in messages(begun))
    assert is_active(), show("ActiveState")
