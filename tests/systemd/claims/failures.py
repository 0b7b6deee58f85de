"""The service when the agent hangs, or is killed during a build."""

import os
import signal
import time

from claim import claim, equal, wait_until
from service import (
    UNIT, drop_in, fresh, is_active, main_pid, proven, provider, records, show, staging, systemctl,
    until_served,
)

WATCHDOG_S = 2  # instead of the 30 s as shipped, so that the claim is proven soon
RESTART_S = 2  # as shipped
SPARE_S = 2


def during_a_build():
    """Starts an agent whose third request of six is held, and whose cache has the vectors before it."""
    provider.answer_only(2)
    systemctl("start", UNIT)
    wait_until("the third request is held", provider.holds_one)
    assert staging(), "no staging to remove"
    return main_pid()


@claim("an agent that hangs is replaced within WatchdogSec + RestartSec + 2 s")
def hung():
    fresh()
    drop_in("watchdog.conf", f"[Service]\nWatchdogSec={WATCHDOG_S}s\n")
    systemctl("start", UNIT)
    until_served()
    pid = main_pid()
    time.sleep(WATCHDOG_S + 0.5)
    equal((main_pid(), show("NRestarts")), (pid, "0"), "an idle agent is not replaced")

    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    wait_until("another agent is up", lambda: main_pid() not in (0, pid) and is_active(), within=30)
    took = time.monotonic() - began
    assert took <= WATCHDOG_S + RESTART_S + SPARE_S, f"it took {took:.1f} s"


@claim("killed during a build, the agent is back in RestartSec + 2 s without its staging, and no text is embedded twice")
def killed():
    fresh(people=60)
    pid = during_a_build()
    left = staging()
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    wait_until("another agent is up", lambda: main_pid() not in (0, pid) and is_active())
    took = time.monotonic() - began
    assert took <= RESTART_S + SPARE_S, f"it took {took:.1f} s"
    equal([path for path in left if path.exists()], [], "staging of the killed agent")
    equal(show("NRestarts"), "1")

    provider.answer_all()
    until_served()
    equal((len(provider.embedded), set(provider.embedded.values())), (60, {1}), "embedded texts, and how often each")
    equal(records(), list(range(1, 61)))
    wait_until("no staging is left", lambda: not staging())
    proven()


@claim("killed during a build and not restarted, its staging is removed all the same")
def killed_for_good():
    fresh(people=60)
    drop_in("no-restart.conf", "[Service]\nRestart=no\n")
    pid = during_a_build()
    os.kill(pid, signal.SIGKILL)
    wait_until("the unit has failed", lambda: show("ActiveState") == "failed")
    equal((show("Result"), main_pid()), ("signal", 0))
    equal(staging(), [])
