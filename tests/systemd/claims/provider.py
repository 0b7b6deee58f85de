"""An embedding server inside the machine: batchEmbedContents of the Gemini API.

It counts requests and embedded texts: a text is embedded when its answer was
sent to a client that was still connected. It can hold its answers, so that a
test ends the agent at a known point of a build.
"""

import collections
import hashlib
import http.server
import json
import select
import socket
import threading


class Provider:
    def __init__(self):
        self._turn = threading.Condition()
        self._held = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.provider = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.reset()

    def reset(self):
        """Forgets everything, and answers at once again."""
        with self._turn:
            self._answers_left = None
            self.requests = 0  # received
            self.embedded = collections.Counter()  # texts, by how often each was embedded
            self.keys = set()
            self._turn.notify_all()

    def answer_only(self, requests):
        """Answers this many requests from now on, and holds those after them."""
        with self._turn:
            self._answers_left = requests
            self._turn.notify_all()

    def answer_all(self):
        self.answer_only(None)

    def holds_one(self):
        """Whether a client waits for an answer that is held."""
        with self._turn:
            return self._answers_left == 0 and self._held > 0

    def _wait_for_turn(self):
        with self._turn:
            self.requests += 1
            self._held += 1
            self._turn.wait_for(lambda: self._answers_left is None or self._answers_left > 0)
            self._held -= 1
            if self._answers_left is not None:
                self._answers_left -= 1

    def _count(self, texts):
        with self._turn:
            self.embedded.update(texts)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        provider = self.server.provider
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        provider.keys.add(self.headers["x-goog-api-key"])
        provider._wait_for_turn()
        texts = [request["content"]["parts"][0]["text"] for request in body["requests"]]
        sizes = [request["outputDimensionality"] for request in body["requests"]]
        vectors = [{"values": vector(text, size)} for text, size in zip(texts, sizes)]
        if self._gone():
            self.close_connection = True
            return
        # Counted before it is sent, so that the count is right for every client that has the answer.
        provider._count(texts)
        body = json.dumps({"embeddings": vectors}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _gone(self):
        """Whether the other side has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def log_message(self, *_):
        pass


def vector(text, size):
    """A vector of this size, the same for the same text."""
    bytes_ = hashlib.shake_256(text.encode()).digest(size)
    return [byte / 128 - 1 for byte in bytes_]
