"""A search API next to the service: the example of tests/reader, as its clients see it."""

import json
import pathlib
import subprocess
import urllib.error
import urllib.request

PYTHON = pathlib.Path("/source/target/reader-venv/bin/python")
SCRIPT = "/source/tests/reader/api.py"


class Api:
    """A running API that serves what is published in a folder."""

    def __init__(self, data):
        assert PYTHON.exists(), "no Python with faiss-cpu: make test and make systemd-test install it"
        command = [str(PYTHON), SCRIPT, str(data)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()

    def build(self):
        """The id of the build that it serves; None before the first."""
        try:
            return self._ask("/health")["build"]
        except urllib.error.HTTPError as error:
            assert error.code == 503, error
            return None

    def people(self, limit=1000):
        """The ids of all people whom a search finds."""
        found = self._ask("/search", {"row": 0, "k": limit})["results"]
        return sorted(one["record"]["id"] for one in found)

    def _ask(self, path, question=None):
        body = None if question is None else json.dumps(question).encode()
        with urllib.request.urlopen(self.url + path, data=body, timeout=10) as answer:
            return json.load(answer)
