"""The shape shared, an API that a path unit restarts, and at the end uninstall."""

import pathlib
import pwd
import shutil
import time

from claim import claim, equal, wait_until
from install import EXAMPLES
from service import (
    DATA, DATABASE, KEY_FILE, PROGRAM, SETTINGS, UNIT, UNITS, configure, cursor, drop_in, fresh, main_pid,
    make_folder, records, run, show, systemctl, touch_marker, until_passes, until_served,
)
from writer import Writer

SHARED = pathlib.Path("/srv/experts")


@claim("the shape shared works by its example: all files are the owner's, in one directory")
def shared():
    fresh()
    data, marker = SHARED / "data", SHARED / "data/tagging-complete"
    make_folder(SHARED, 0o755)
    make_folder(data, 0o755)
    with Writer(data / "experts.db") as writer:
        writer.create()
        writer.add_people(range(1, 6))
    configure(source={"database": "data/experts.db"}, trigger={"marker": "data/tagging-complete"})
    drop_in("shared.conf", (EXAMPLES / "shared.conf").read_text(encoding="utf-8"))
    systemctl("start", UNIT)
    first = until_served(data=data)
    with Writer(data / "experts.db") as writer:
        writer.add_people([6])
        until_served(first, data)
    equal(records(data), list(range(1, 7)))
    experts = pwd.getpwnam("experts").pw_uid
    strangers = [str(path) for path in data.rglob("*") if path.lstat().st_uid != experts]
    equal(strangers, [], "files of other users")
    with Writer(data / "experts.db") as writer:
        writer.add_people([7])
    systemctl("stop", UNIT)
    equal(show("Result"), "success")
    left = sorted(path.name for path in data.iterdir() if path.name.startswith("experts.db"))
    equal(left, ["experts.db"], "as every client leaves the directory")


@claim("a path unit on served.json restarts an API after a promotion, and not after a pass without one")
def api_restarted():
    fresh()
    for name in ("reindexd-served.path", "reindexd-served.service"):
        shutil.copy(EXAMPLES / name, UNITS / name)
    (UNITS / "experts-api.service").write_text("[Service]\nExecStart=sleep infinity\n", encoding="utf-8")
    systemctl("daemon-reload")
    systemctl("start", "experts-api.service", UNIT)
    build = until_served()
    systemctl("enable", "--now", "reindexd-served.path")
    api = main_pid("experts-api.service")

    begun = cursor()
    touch_marker()
    until_passes(1, begun)
    time.sleep(0.3)  # enough time for what must not happen
    equal(main_pid("experts-api.service"), api, "the API's process without a promotion")

    with Writer(DATABASE) as writer:
        writer.add_people([6])
    until_served(build)
    wait_until("the API is restarted", lambda: main_pid("experts-api.service") not in (0, api))
    systemctl("disable", "--now", "reindexd-served.path")


@claim("make uninstall removes program and unit, and keeps data, settings and key")
def uninstalled():
    fresh()
    systemctl("enable", "--now", UNIT)
    build = until_served()
    run("make", "-C", "/source", "uninstall")
    equal((show("LoadState"), show("ActiveState")), ("not-found", "inactive"))
    gone = [pathlib.Path(PROGRAM), UNITS / UNIT, EXAMPLES, UNITS / "multi-user.target.wants" / UNIT]
    equal([str(path) for path in gone if path.is_symlink() or path.exists()], [], "not removed")
    kept = [SETTINGS, KEY_FILE, DATA / "builds" / build / "faiss.index", DATA / "metadata.json"]
    equal([str(path) for path in kept if not path.exists()], [], "removed")
