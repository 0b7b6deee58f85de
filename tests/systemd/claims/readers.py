"""How the API's user gets to read what the shipped unit publishes."""

import pathlib
import stat

from claim import claim, equal
from install import EXAMPLES
from service import (
    DATA, DATABASE, STATE, UNIT, cursor, drop_in, fresh, messages, run, show, systemctl, until_served,
)
from writer import Writer

FILES = ["metadata.json", "faiss.index", "current/manifest.json", "served.json"]


def can_read(user):
    """Which of the published files a user can read, with the groups that the system gives it."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return [name for name in FILES if run(*become, "wc", "-c", str(DATA / name), check=False).returncode == 0]


def two_builds():
    """The first build, and one by a running agent."""
    systemctl("start", UNIT)
    first = until_served()
    with Writer(DATABASE) as writer:
        writer.add_people([6])
    until_served(first)


@claim("an API whose user is in the group reindexd reads index and metadata, and nobody else does")
def in_the_group():
    run("systemd-sysusers", "--inline", "u experts-api -", "m experts-api reindexd")
    fresh()
    two_builds()
    equal(can_read("experts-api"), FILES)
    equal(can_read("experts"), [])
    equal(run("setpriv", "--reuid=experts-api", "--regid=experts-api", "--init-groups", "cat",
              str(DATA / ".reindexd/embeddings.sqlite"), check=False).returncode, 1, "the cache is the agent's")


@claim("publish.group and its drop-in let an API read that is not in the agent's group")
def by_setting():
    run("systemd-sysusers", "--inline", "u other-api -")
    fresh(publish={"group": "other-api"})
    begun = cursor()
    assert systemctl("start", UNIT, check=False).returncode != 0, "it started without the group"
    assert "publish.group is other-api" in messages(begun), messages(begun)
    systemctl("stop", UNIT)
    run("rm", "-rf", str(DATA))
    drop_in("group.conf", EXAMPLES.joinpath("group.conf").read_text(encoding="utf-8").replace("experts-api", "other-api"))
    two_builds()
    equal(can_read("other-api"), FILES)
    equal(can_read("experts"), [])


@claim("a setgid directory made by tmpfiles passes its group on to everything in it")
def by_directory():
    run("systemd-sysusers", "--inline", "u other-api -")
    fresh()
    drop_in("setgid.conf", EXAMPLES.joinpath("setgid.conf").read_text(encoding="utf-8"))
    rules = pathlib.Path("/etc/tmpfiles.d/reindexd-setgid.conf")
    rules.parent.mkdir(exist_ok=True)
    example = EXAMPLES.joinpath("setgid.tmpfiles.conf").read_text(encoding="utf-8")
    rules.write_text(example.replace("experts-api", "other-api"), encoding="utf-8")
    run("systemd-tmpfiles", "--create", str(rules))
    two_builds()
    equal(can_read("other-api"), FILES)
    equal(can_read("experts"), [])
    directories = [DATA, *(path for path in (DATA / "builds").iterdir())]
    bare = [str(path) for path in directories if not path.stat().st_mode & stat.S_ISGID]
    equal(bare, [], "directories without the bit")
    equal(show("Result"), "success")
    systemctl("stop", UNIT)
    rules.unlink()
    run("chmod", "0750", str(STATE))
