"""What a claim is, and how claims are run and counted."""

import subprocess
import time
import traceback

_CLAIMS = []
SOON_S = 20  # how long an expected event may take on a slow machine


def claim(sentence):
    """Marks a function as the proof of this sentence. Its docstring may say more."""

    def marked(function):
        _CLAIMS.append((sentence, function))
        return function

    return marked


def equal(found, expected, what=""):
    assert found == expected, f"{what}: expected {expected!r}, found {found!r}".lstrip(": ")


def wait_until(what, holds, within=SOON_S):
    """Waits until a condition holds, and returns its value; the claim fails if it does not hold in time."""
    until = time.monotonic() + within
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < until, f"still not so after {within} s: {what}"
        time.sleep(0.02)


def run(chapters, only=""):
    """Proves the claims of some modules in this order; returns the exit status.

    With `only`, only those that contain this text, and the first, which all others need.
    """
    names = [chapter.__name__ for chapter in chapters]
    claims = sorted(_CLAIMS, key=lambda claim: names.index(claim[1].__module__))
    passed = failed = 0
    for sentence, function in claims[:1] + [claim for claim in claims[1:] if only in claim[0]]:
        began = time.monotonic()
        try:
            function()
            passed += 1
            print(f"ok      {sentence} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as error:  # an error in one claim must not hide the others
            failed += 1
            print(f"FAILED  {sentence}: {seen(error)}", flush=True)
            print(indented(journal_end()), flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def seen(error):
    """An error on few lines: for a claim its message, for anything else also the place."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(map(str, error.cmd))} ended with {error.returncode}: {error.stdout}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    message = str(error) or place.line
    return message if isinstance(error, AssertionError) else f"{type(error).__name__}: {message} (line {place.lineno})"


def journal_end():
    """The end of the journal, printed after a failure."""
    command = ["journalctl", "--no-pager", "-n", "25", "-o", "short-precise"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def indented(text):
    return "\n".join(f"        | {line}" for line in text.splitlines())
