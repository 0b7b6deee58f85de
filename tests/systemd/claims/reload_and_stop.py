"""Requests of an operator while the agent runs: reload and stop."""

import contextlib
import re
import time

from claim import claim, equal, wait_until
from service import (
    DATABASE, UNIT, configure, cursor, fresh, main_pid, messages, provider, served, show, staging,
    systemctl, until_served,
)
from writer import Writer

STOP_S = 5


@contextlib.contextmanager
def every_notice_logged():
    """In this context the manager logs, among much else, each message that it receives from a service."""
    systemctl("log-level", "debug")
    try:
        yield
    finally:
        systemctl("log-level", "notice")


@claim("a reload keeps the process, is reported to the manager, and applies the settings")
def reload():
    fresh()
    systemctl("start", UNIT)
    build = until_served()
    pid, begun = main_pid(), cursor()

    with every_notice_logged():
        configure(guard={"max_texts": 1})
        systemctl("reload", UNIT)
        wait_until("settings in force", lambda: "new values in force" in messages(begun))
        notified = re.compile(r"RELOADING=1.*MONOTONIC_USEC=\d+(.*\n)*.*READY=1")
        wait_until("RELOADING with its time, then READY", lambda: notified.search(messages(begun)))

    equal((main_pid(), show("ActiveState")), (pid, "active"), "process and state")
    with Writer(DATABASE) as writer:
        writer.add_people([6, 7])
    wait_until("the new limit holds", lambda: "guard.max_texts" in messages(begun))
    equal(served(), build)


@claim("a settings file that is refused changes nothing, and the old settings stay")
def reload_refused():
    fresh(guard={"max_texts": 5})
    systemctl("start", UNIT)
    build = until_served()
    pid, begun = main_pid(), cursor()

    configure(guard={"max_texts": "many"})
    systemctl("reload", UNIT)
    wait_until("the refusal is logged", lambda: "settings: refused" in messages(begun))
    with Writer(DATABASE) as writer:
        writer.add_people(range(6, 10))
    build = until_served(build)
    with Writer(DATABASE) as writer:
        writer.add_people(range(10, 16))
    wait_until("the old limit holds", lambda: "guard.max_texts" in messages(begun))
    equal((main_pid(), show("ActiveState"), served()), (pid, "active", build))


@claim(f"a stop during a build takes less than {STOP_S} s, succeeds, leaves no staging and loses no vector")
def stop_during_a_build():
    fresh(people=60)
    provider.answer_only(2)
    systemctl("start", UNIT)
    wait_until("the third request is held", provider.holds_one)
    assert staging(), "no staging to remove"
    begun, began = cursor(), time.monotonic()
    with every_notice_logged():
        systemctl("stop", UNIT)
    took = time.monotonic() - began
    assert took < STOP_S, f"it took {took:.1f} s"
    equal((show("Result"), show("ActiveState"), show("ExecMainStatus")), ("success", "inactive", "0"))
    equal(staging(), [])
    wait_until("STOPPING was sent", lambda: "STOPPING=1" in messages(begun))

    provider.answer_all()
    systemctl("start", UNIT)
    until_served()
    equal((len(provider.embedded), set(provider.embedded.values())), (60, {1}), "embedded texts, and how often each")
