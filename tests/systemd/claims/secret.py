"""The API key: the manager passes it on, and it appears nowhere else."""

import pathlib

from claim import claim, equal
from service import (
    DATABASE, KEY, KEY_FILE, PROGRAM, UNIT, cursor, fresh, main_pid, provider, run, systemctl,
    until_served,
)
from writer import Writer

CREDENTIAL = pathlib.Path(f"/run/credentials/{UNIT}/embedding-api-key")


@claim("only the agent and root can read the key")
def key_is_the_agents():
    fresh()
    systemctl("start", UNIT)
    until_served()
    equal(provider.keys, {KEY}, "keys that the provider received")
    equal(CREDENTIAL.read_text(encoding="utf-8").strip(), KEY, CREDENTIAL)
    for path in (KEY_FILE, CREDENTIAL):
        for user in ("nobody", "experts"):
            assert run("cat", str(path), user=user, check=False).returncode != 0, f"{user} can read {path}"
    assert run("cat", str(KEY_FILE), user="reindexd", check=False).returncode != 0, "only root may read the key file itself"


@claim("the key is not in the environment, the arguments, the unit, the status or the journal, even at level trace")
def key_is_not_shown():
    fresh(log={"level": "trace"})
    begun = cursor()
    systemctl("start", UNIT)
    build = until_served()
    with Writer(DATABASE) as writer:
        writer.add_people([6])
    until_served(build)
    equal(provider.keys, {KEY}, "keys that the provider received")

    process = pathlib.Path(f"/proc/{main_pid()}")
    places = {
        "environ": (process / "environ").read_bytes().decode(),
        "cmdline": (process / "cmdline").read_bytes().decode(),
        "show": systemctl("show", UNIT).stdout,
        "status": systemctl("status", UNIT).stdout,
        "journal": run("journalctl", "-o", "export", "--all", "--after-cursor", begun).stdout,
        "config": run("env", f"CREDENTIALS_DIRECTORY={CREDENTIAL.parent}", PROGRAM, "config").stdout,
    }
    shown = [place for place, text in places.items() if KEY in text]
    equal(shown, [], "places that show the key")
    assert "***" in places["config"], "the settings have no key"
    assert len(places["journal"]) > 10_000, "too few lines at level trace to prove anything"
