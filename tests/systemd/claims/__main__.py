"""Runs every claim about the shipped unit, inside the machine, as root.

One line a claim, `ok` or `FAILED` with what was seen, and a last line with the
counts. The order matters only here: `install` comes first, and `shapes`, which
takes the unit away again, last. Each claim makes a fresh world for itself.
"""

import pathlib
import sys

import claim
import install
import life
import orders
import secret
import service
import shapes
import trouble

if __name__ == "__main__":
    service.systemctl("log-target", "journal")  # the manager's words are evidence too
    only = pathlib.Path("/machine/only").read_text(encoding="utf-8")
    sys.exit(claim.run([install, life, orders, secret, trouble, shapes], only))
