#!/usr/bin/env python3
"""api.py DATA_DIR [PORT]: a search API that serves what reindexd publishes and drops no request.

An example to start from, with Python's standard library and faiss-cpu:

  POST /search        {"vector": [...], "k": 10}, or {"row": 3} to search with a vector of the index
  POST /admin/reload  loads what `current` leads to now; reindexd announces builds here
  GET /health         which build is served; reindexd reads it to confirm an announcement

Everything that an answer needs is in one immutable Pair. A request takes the
reference once, at its beginning, and a reload replaces it once, at its end: no
answer can come from two builds, requests never wait for a load, and if a load
fails the old pair stays served.

With RELOAD_TOKEN_FILE in the environment a reload needs that file's token as
`Authorization: Bearer TOKEN`. Prints its address when it listens. PORT 0, the
default, takes a free one. Before the first build is published it listens too,
and answers 503.
"""

import dataclasses
import hmac
import http.server
import json
import os
import signal
import sys
import threading

import faiss
import numpy
import reader

MAX_BYTES = 1 << 20
MAX_RESULTS = 1000


@dataclasses.dataclass(frozen=True)
class Pair:
    """One complete build, which never changes."""

    build: str
    index: faiss.Index
    metadata: list

    @classmethod
    def load(cls, data):
        folder, index, metadata = reader.load_pair(data)
        if index.ntotal != len(metadata):
            raise ValueError(f"{folder}: {index.ntotal} vectors for {len(metadata)} records")
        return cls(os.path.basename(folder), index, metadata)

    def search(self, vector, k):
        vector = vector.reshape(1, -1).copy()
        faiss.normalize_L2(vector)  # as the index is; otherwise scores are not cosines
        scores, rows = self.index.search(vector, min(k, self.index.ntotal))
        found = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [{"row": row, "score": score, "record": self.metadata[row]} for row, score in found]


class Refused(Exception):
    """An answer other than 200: a status and its message."""


class Api(http.server.ThreadingHTTPServer):
    """A thread for each connection, and one reference to the pair that all of them search."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, address, data, token_file=None):
        super().__init__(address, Handler)
        self.data = data
        self.token_file = token_file
        self.loading = threading.Lock()
        self.pair = None
        if os.path.exists(os.path.join(data, "current")):
            self.reload()

    def reload(self):
        """Serves what `current` leads to now; returns its id.

        One at a time: two loads would need the memory of three, and the one
        that started first could end last and serve an older build again.
        """
        with self.loading:
            current = os.path.basename(os.path.realpath(os.path.join(self.data, "current")))
            if self.pair is None or self.pair.build != current:
                self.pair = Pair.load(self.data)
            return self.pair.build


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request, asks the server, writes the answer."""

    protocol_version = "HTTP/1.1"  # connections are kept alive
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self):
        self.answer({"/health": self.health})

    def do_POST(self):
        self.answer({"/search": self.search, "/admin/reload": self.reload})

    def health(self, _body):
        return {"build": self.pair().build}

    def search(self, body):
        pair = self.pair()  # once: even if another build is loaded now, this request uses one build
        try:
            question = json.loads(body)
            if "row" in question:
                vector = pair.index.reconstruct(range(pair.index.ntotal)[question["row"]])
            else:
                vector = numpy.array(question["vector"], dtype="float32")
            k = min(int(question.get("k", 10)), MAX_RESULTS)
            if vector.shape != (pair.index.d,) or not numpy.isfinite(vector).all() or k < 1:
                raise ValueError(f"expected {pair.index.d} finite numbers and a k of 1 or more")
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise Refused(400, f"not a question: {error}") from error
        return {"build": pair.build, "results": pair.search(vector, k)}

    def reload(self, _body):
        try:
            self.check_token()
            return {"build": self.server.reload()}
        except (OSError, RuntimeError, ValueError) as error:
            # The announcement is repeated; until then the old pair is served.
            raise Refused(500, f"cannot load: {error}") from error

    def pair(self):
        pair = self.server.pair
        if pair is None:
            raise Refused(503, "nothing is published yet")
        return pair

    def check_token(self):
        if self.server.token_file is None:
            return
        with open(self.server.token_file, encoding="ascii") as file:
            expected = f"Bearer {file.read().strip()}"
        received = self.headers.get("Authorization", "")
        if not hmac.compare_digest(expected.encode(), received.encode()):
            raise Refused(401, "expected another token")

    def answer(self, routes):
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= MAX_BYTES:
                self.close_connection = True  # unread bytes would be read as the next request
                raise Refused(413, f"expected at most {MAX_BYTES} bytes")
            body = self.rfile.read(length)
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                raise Refused(404, "no such page")
            status, answer = 200, route(body)
        except Refused as refused:
            status, answer = refused.args[0], {"error": refused.args[1]}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Logs no requests: their clients know the outcome."""


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: api.py DATA_DIR [PORT]")
    port = int(sys.argv[2]) if len(sys.argv) == 3 else 0
    faiss.omp_set_num_threads(1)  # a thread for each request is enough
    api = Api(("127.0.0.1", port), sys.argv[1], os.environ.get("RELOAD_TOKEN_FILE"))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=api.shutdown).start())
    print("http://{}:{}".format(*api.server_address), flush=True)
    api.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
