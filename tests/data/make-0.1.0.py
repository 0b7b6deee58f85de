#!/usr/bin/env python3
"""make-0.1.0.py PROGRAM: how `tests/data/0.1.0` was made, by reindexd 0.1.0 (commit 930c27e).

Every folder in it is a working directory of the program: `reindexd.toml` and
`data/`. `tests/it/compatibility.rs` gives copies of them to the program of
today. Run by another program than 0.1.0 the files would prove nothing, so this
script is kept to show where they came from, not to be run again.

    served    an agent and commands; 30 rows, one refused, one damaged; three builds; other rows in the cache
    continued index, metadata and hashes after a build of `more.sql` in `served`
    held      Gemini's vectors; two builds, and a rollback that holds
    adopted   a pair of files that was found, not made
    local     the embedded model

`keys.txt` has the JSON keys of commands, `tree.txt` the files of a first
build with their modes, which git does not keep.
"""

import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = HERE.parent.parent / "data" / "schema.sql"
OUT = HERE / "0.1.0"

# --- vectors: those of the tests' own provider, which takes them from blake3 ---

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
QUARTERS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
START, END, ROOT = 1, 2, 8


def compress(chaining, block, counter, length, flags):
    """Blake3's function of one block."""
    state = [*chaining, *IV[:4], counter & 0xFFFFFFFF, counter >> 32, length, flags]
    message = list(struct.unpack("<16I", block))

    def turn(word, by):
        return (word >> by | word << 32 - by) & 0xFFFFFFFF

    for _ in range(7):
        for (a, b, c, d), at in zip(QUARTERS, range(0, 16, 2)):
            for word, first, second in ((message[at], 16, 12), (message[at + 1], 8, 7)):
                state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
                state[d] = turn(state[d] ^ state[a], first)
                state[c] = (state[c] + state[d]) & 0xFFFFFFFF
                state[b] = turn(state[b] ^ state[c], second)
        message = [message[at] for at in ORDER]
    for at in range(8):
        state[at] ^= state[at + 8]
        state[at + 8] ^= chaining[at]
    return state


def blake3(data, length):
    """So many bytes of blake3's output, for at most 1,024 bytes."""
    assert len(data) <= 1024
    blocks = [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    chaining, out = IV, b""
    for at, block in enumerate(blocks):
        flags = (START if at == 0 else 0) | (END if block is blocks[-1] else 0)
        padded = block.ljust(64, b"\0")
        if block is not blocks[-1]:
            chaining = compress(chaining, padded, 0, 64, flags)[:8]
    for counter in range(-(-length // 64)):
        out += struct.pack("<16I", *compress(chaining, padded, counter, len(block), flags | ROOT))
    return out[:length]


def components(model, text, dimension):
    name = model.encode()
    numbers = struct.unpack(f"<{dimension}I", blake3(struct.pack("<Q", len(name)) + name + text.encode(), 4 * dimension))
    return ["%.8f" % ((number % 200_000_000 - 100_000_000) / 100_000_000) for number in numbers]


class Provider(http.server.BaseHTTPRequestHandler):
    """Both APIs; a text with `refused` in it is refused, one with `outage` ends the pass."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "requests" in body:
            texts = ["".join(part["text"] for part in one["content"]["parts"]) for one in body["requests"]]
            model = self.path.rsplit("/", 1)[1].split(":")[0]
            dimension = body["requests"][0]["outputDimensionality"]
        else:
            texts, model, dimension = body["input"], body["model"], body.get("dimensions", 1536)
            texts = [texts] if isinstance(texts, str) else texts
        vectors = [f"[{','.join(components(model, text, dimension))}]" for text in texts]
        status = 200
        if any("outage" in text for text in texts):
            status, answer = 403, refusal(403, "Your project has been denied access. Please contact support.")
        elif any("refused" in text for text in texts):
            status, answer = 400, refusal(400, "Request contains an invalid argument.")
        elif "requests" in body:
            answer = '{"embeddings":[%s]}' % ",".join('{"values":%s}' % vector for vector in vectors)
        else:
            entries = ",".join('{"object":"embedding","index":%d,"embedding":%s}' % one for one in enumerate(vectors))
            answer = '{"object":"list","data":[%s],"model":"%s","usage":{"prompt_tokens":1,"total_tokens":1}}'
            answer %= (entries, model)
        answer = answer.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(answer)


def refusal(status, message):
    kind = "invalid_request_error" if status == 400 else "permission_error"
    return json.dumps({"error": {"code": status, "message": message, "type": kind, "status": "INVALID_ARGUMENT"}})


# --- working directories -------------------------------------------------------

SETTINGS = {
    "served": """[trigger]
quiet = "300ms"
max_wait = "2s"
marker_quiet = "50ms"
resync = "1h"

[embedding]
provider = "openai"
model = "text-embedding-3-small"
dimension = 8
base_url = "http://127.0.0.1:9"
api_key_file = "api.key"
batch_size = 3
concurrency = 1

[guard]
quarantine = 5

[[announce]]
command = ["/bin/true"]

[[announce]]
command = ["/bin/false", "always"]
""",
    "held": """[embedding]
provider = "gemini"
model = "gemini-embedding-001"
dimension = 8
task_type = "RETRIEVAL_DOCUMENT"
base_url = "http://127.0.0.1:9"
api_key_file = "api.key"
""",
    "local": """[embedding]
provider = "local"
""",
}
SETTINGS["adopted"] = SETTINGS["held"]
NOWHERE = "http://127.0.0.1:9"

CAST = ["Ada", "Bjørn", "Chloë", "Dmitri", "Eve"]
MORE = """INSERT INTO experts (id, username, first_name, bio, tags) VALUES
    (41, 'u41', 'Ida', 'Kept by an earlier pass, one.', '["x"]'),
    (42, 'u42', 'Jan', 'Kept by an earlier pass, two.', '["x"]'),
    (43, 'u43', 'Kim', 'Kept by an earlier pass, three.', '["x"]');
"""


class Folder:
    """A working directory and its program."""

    def __init__(self, path, program, address):
        self.path, self.program, self.address = path, program, address

    def make(self, name, rows):
        (self.path / "data").mkdir(parents=True)
        (self.path / "api.key").write_text("no-key-at-all\n")
        (self.path / "reindexd.toml").write_text(SETTINGS[name].replace(NOWHERE, self.address))
        self.sql(SCHEMA.read_text())
        for number in range(1, rows + 1):
            first, rate = CAST[number % 5], [100.5, None, 80.0, 1e-7, 12345678.25][number % 5]
            row = (number, f"user{number}", first, f"Last \"{number}\"", ["Analyst", None, "Ingénieure"][number % 3],
                   ["Engine & Co", ""][number % 2], f"Bio of person {number}.\n\u2028End.", rate, "EUR",
                   f"https://example.org/{number}", None, '["maths", "Zoë"]', number / 7, "c")
            self.connect(lambda database: database.execute(f"INSERT INTO experts VALUES ({','.join('?' * 14)})", row))
        return self

    def copy(self, path):
        shutil.copytree(self.path, path, symlinks=True)
        return Folder(path, self.program, self.address)

    def connect(self, do):
        database = sqlite3.connect(self.path / "data/experts.db")
        with database:
            do(database)
        database.close()

    def sql(self, script):
        self.connect(lambda database: database.executescript(script))

    def command(self, arguments):
        return dict(args=[self.program, *arguments], cwd=self.path, env={}, stdin=subprocess.DEVNULL)

    def run(self, *arguments, code=0):
        ran = subprocess.run(**self.command([*arguments, "--json"]), capture_output=True, text=True)
        assert code in (None, ran.returncode), (arguments, ran)
        return ran

    def build(self, *arguments, code=0, outcome="promoted"):
        ran = self.run("build", *arguments, code=code)
        assert json.loads(ran.stdout)["outcome"] == outcome, ran

    def served(self):
        return os.readlink(self.path / "data/current")

    def finish(self):
        """As it goes into the repository: no server's address, no log of SQLite."""
        settings = self.path / "reindexd.toml"
        settings.write_text(settings.read_text().replace(self.address, NOWHERE))
        assert not [*self.path.rglob("*-wal"), *self.path.rglob("*.staging")]


def wait_for(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def make_served(folder):
    folder.sql("UPDATE experts SET tags = 'no list' WHERE id = 13; UPDATE experts SET bio = 'refused' WHERE id = 17")
    folder.build()
    first = folder.served()
    agent = subprocess.Popen(**folder.command(["run"]), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    threading.Thread(target=agent.stderr.read, daemon=True).start()
    note = folder.path / "data/.reindexd/agent.json"
    wait_for(lambda: note.exists() and '"idle"' in note.read_text() and '"inotify"' in note.read_text())
    folder.sql("UPDATE experts SET hourly_rate = 1 WHERE id < 4; UPDATE experts SET bio = 'New.' WHERE id = 5")
    wait_for(lambda: folder.served() != first)
    second = folder.served()
    folder.sql("UPDATE experts SET bio = 'Newer.' WHERE id = 5; DELETE FROM experts WHERE id = 30")
    (folder.path / "data/tagging-complete").touch()
    wait_for(lambda: folder.served() != second)
    third = folder.served()
    time.sleep(2)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait() == 0

    # A pass that embedded three texts and failed.
    folder.sql(MORE + "INSERT INTO experts (id, bio, tags) VALUES (44, 'outage', '[]');")
    folder.build(code=1, outcome="failed")
    folder.sql("DELETE FROM experts WHERE id > 40")
    folder.connect(lambda database: database.execute("UPDATE experts SET tags = NULL WHERE id > 5"))
    folder.build(code=3, outcome="refused")
    folder.sql("UPDATE experts SET tags = '[\"maths\", \"Zoë\"]' WHERE id > 5;"
               "UPDATE experts SET tags = 'no list' WHERE id = 13")
    folder.run("rollback")
    assert folder.served() == second
    folder.run("rollback", third.split("/")[1])
    folder.run("rollback", "--release")
    # Other bytes, the same content.
    folder.sql("UPDATE experts SET tags = '[\"maths\",   \"Zoë\"]' WHERE id = 6")
    folder.build(outcome="unchanged")
    folder.finish()


def make_held(folder):
    folder.build()
    folder.sql("UPDATE experts SET bio = 'Bad.' WHERE id = 2; UPDATE experts SET hourly_rate = 0")
    folder.build()
    folder.run("rollback")
    # A missing cache is an empty one.
    (folder.path / "data/.reindexd/embeddings.sqlite").unlink()
    folder.finish()


def make_adopted(folder, of):
    for name in ("faiss.index", "metadata.json"):
        shutil.copyfile(of.path / "data" / name, folder.path / "data" / name)
        (folder.path / "data" / name).chmod(0o644)
    folder.sql("UPDATE experts SET bio = 'outage' WHERE id = 3")
    folder.build(code=1, outcome="failed")
    (folder.path / "data/.reindexd/embeddings.sqlite").unlink()
    folder.sql("UPDATE experts SET bio = 'Other.' WHERE id = 3")
    assert folder.served().endswith("-adopted")
    folder.finish()


# --- what is compared --------------------------------------------------------------

# Working directory, what is done to a copy of it, command.
COMMANDS = [
    *[("served", "", command) for command in (
        "status", "plan", "verify", "history", "search question", "build", "build --full", "config", "sweep",
        "rollback", "rollback --release")],
    *[("served", "more", command) for command in ("status", "plan", "build", "history")],
    *[("served", "lost", command) for command in ("status", "plan", "build", "search question")],
    *[("served", "busy", command) for command in ("build", "rollback", "sweep", "status")],
    *[("served", "shrunk", command) for command in ("build", "plan", "status")],
    *[("served", "damaged", command) for command in ("verify", "status", "history")],
    *[("served", "wrong", command) for command in ("build", "status", "verify", "config")],
    *[("served", "", command) for command in ("search", "verify 20010101T000000Z-000000", "build --bogus")],
    *[("held", "", command) for command in (
        "status", "plan", "verify", "history", "rollback --release", "build", "search question")],
    *[("adopted", "", command) for command in ("status", "plan", "verify", "history", "build")],
    *[("local", "", command) for command in ("status", "plan", "verify", "search question", "build")],
]


def do_to(folder, change):
    """Changes a copy as `compatibility.rs` does; returns the lock file, which must stay open."""
    import fcntl
    if change == "more":
        folder.sql(MORE)
    elif change == "lost":
        (folder.path / "data/experts.db").unlink()
    elif change == "shrunk":
        folder.sql("DELETE FROM experts WHERE id > 5")
    elif change == "damaged":
        index = folder.path / "data/faiss.index"
        content = bytearray(index.read_bytes())
        content[60] ^= 1
        index = index.resolve()
        index.unlink()
        index.write_bytes(content)
    elif change == "wrong":
        with open(folder.path / "reindexd.toml", "a", encoding="utf-8") as settings:
            settings.write("[log]\nlevel = \"loud\"\n")
    elif change == "busy":
        lock = open(folder.path / "data/.reindexd/lock", "r+b")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock
    return None


def keys(value, at=""):
    """Every key below a value as a path, with the kind of what stands there."""
    if isinstance(value, dict):
        # A setting's key has dots of its own.
        return {path for key, one in value.items() for path in keys(one, f"{at}/{key}")}
    if isinstance(value, list):
        return {path for one in value for path in keys(one, f"{at}/[]")} or {f"{at} list"}
    kind = {bool: "bool", int: "number", float: "number", str: "string", type(None): "null"}[type(value)]
    return {f"{at} {kind}"}


def write_keys(folders):
    lines = []
    for name, change, command in COMMANDS:
        with tempfile.TemporaryDirectory() as scratch:
            copy = folders[name].copy(pathlib.Path(scratch) / "copy")
            settings = copy.path / "reindexd.toml"
            settings.write_text(settings.read_text().replace(NOWHERE, copy.address))
            open_lock = do_to(copy, change)
            ran = copy.run(*command.split(" "), code=None)
            del open_lock
        lines.append(f"{name} | {change} | {command} | {ran.returncode}")
        lines.extend(f"  {key}" for key in sorted(keys(json.loads(ran.stdout))))
    (OUT / "keys.txt").write_text("\n".join(lines) + "\n")


def write_tree(folder):
    folder.build()
    id = folder.served().split("/")[1]
    lines = []
    for path in sorted((folder.path / "data").rglob("*")):
        name = str(path.relative_to(folder.path / "data")).replace(id, "BUILD")
        if path.is_symlink():
            lines.append(f"{name} -> {os.readlink(path).replace(id, 'BUILD')}")
        elif not name.startswith("experts.db"):
            lines.append(f"{path.stat().st_mode & 0o7777:04o} {name}")
    (OUT / "tree.txt").write_text("\n".join(sorted(lines)) + "\n")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make-0.1.0.py PROGRAM")
    program = os.path.realpath(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    os.umask(0o022)
    # These two are the library's: the literals in compatibility.rs, printed by 0.1.0.
    keep = {name: (OUT / name).read_bytes() for name in ("manifest.json", "manifest-adopted.json") if (OUT / name).exists()}
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for name, content in keep.items():
        (OUT / name).write_bytes(content)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        folders = {}
        for name, rows in (("served", 31), ("held", 6), ("adopted", 6), ("local", 4)):
            folders[name] = Folder(scratch / name, program, address).make(name, rows)
        make_served(folders["served"])
        make_held(folders["held"])
        make_adopted(folders["adopted"], folders["held"])
        folders["local"].build()
        (folders["local"].path / "data/.reindexd/embeddings.sqlite").unlink()
        write_tree(Folder(scratch / "first", program, address).make("held", 6))
        write_keys(folders)
        for name, folder in folders.items():
            folder.copy(OUT / name)
        (OUT / "more.sql").write_text(MORE)
        continued = folders["served"].copy(scratch / "continued")
        continued.sql(MORE)
        continued.build()
        (OUT / "continued").mkdir()
        for name in ("faiss.index", "metadata.json", "hashes.bin", "manifest.json"):
            shutil.copyfile(continued.path / "data/current" / name, OUT / "continued" / name)
    for path in OUT.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
