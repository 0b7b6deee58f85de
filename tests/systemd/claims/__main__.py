"""Runs every claim about the shipped unit, inside the machine, as root.

One line for each claim, `ok` or `FAILED` with what was found, and a last line
with the counts. The order matters only here: `install` comes first, and
`shapes`, which uninstalls the unit, last. Each claim makes a fresh world.
"""

import pathlib
import sys

import claim
import failures
import install
import life
import readers
import reload_and_stop
import secret
import service
import shapes
import tables

if __name__ == "__main__":
    service.systemctl("log-target", "journal")  # the manager's messages are evidence too
    only = pathlib.Path("/machine/only").read_text(encoding="utf-8")
    sys.exit(claim.run([install, life, reload_and_stop, secret, failures, readers, tables, shapes], only))
