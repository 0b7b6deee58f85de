"""What the clients of this folder share: tagged rows, their texts, and vectors for them.

Each client is called `NAME.py DATABASE FOLDER ADDRESS`: it updates the files in
FOLDER from DATABASE, gets vectors from the server at ADDRESS, and prints how many
rows it has and to how many of them its index leads. Rows and texts are those of
reindexd. Requests have the form of Gemini's `batchEmbedContents`, with a hundred
texts each, over connections that are kept alive.
"""

import concurrent.futures
import http.client
import json
import sqlite3
import threading

import numpy

DIMENSION = 768
TEXTS_PER_REQUEST = 100
CONCURRENT_REQUESTS = 4
# How many texts a library may pass at once, so that all requests can run at the same time.
TEXTS_AT_ONCE = TEXTS_PER_REQUEST * CONCURRENT_REQUESTS

# Columns, and their names in the metadata.
KEYS = {
    "id": "id",
    "username": "username",
    "first_name": "First Name",
    "last_name": "Last Name",
    "job_title": "Job Title",
    "company": "Company",
    "bio": "Bio",
    "hourly_rate": "Hourly Rate",
    "currency": "Currency",
    "profile_url": "Profile URL",
    "profile_url_utm": "Profile URL with UTM",
    "tags": "tags",
    "findability_score": "findability_score",
    "category": "category",
}


def tagged_rows(database):
    """Pairs of document text and metadata record, in the order of ids."""
    connection = sqlite3.connect(database)
    select = f"SELECT {', '.join(KEYS)} FROM experts WHERE tags IS NOT NULL ORDER BY id"
    rows = [dict(zip(KEYS, values)) for values in connection.execute(select)]
    connection.close()
    for row in rows:
        row["tags"] = json.loads(row["tags"] or "[]")
    return [(text_of(row), {key: row[column] for column, key in KEYS.items()}) for row in rows]


def text_of(row):
    first, last, title, company, bio = (
        (row[column] or "").strip()
        for column in ("first_name", "last_name", "job_title", "company", "bio")
    )
    name = f"{first} {last}".strip()
    if title and company:
        work = f"{title} at {company}."
    elif title:
        work = f"{title}."
    else:
        work = f"Works at {company}." if company else ""
    domains = f"Domains: {', '.join(row['tags'])}." if row["tags"] else ""
    parts = [f"{name}." if name else "", work, bio, domains]
    return " ".join(part for part in parts if part) or row["username"]


class Embedder:
    """Vectors of unit length from the server, with this number of concurrent requests."""

    def __init__(self, address, concurrent_requests=CONCURRENT_REQUESTS):
        self.address = address
        self.concurrent_requests = concurrent_requests
        self.own = threading.local()

    def embed(self, texts):
        """One row of an array for each text."""
        batches = [texts[at : at + TEXTS_PER_REQUEST] for at in range(0, len(texts), TEXTS_PER_REQUEST)]
        with concurrent.futures.ThreadPoolExecutor(self.concurrent_requests) as pool:
            vectors = numpy.concatenate(list(pool.map(self.ask, batches)))
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)

    def ask(self, texts):
        if not hasattr(self.own, "connection"):
            self.own.connection = http.client.HTTPConnection(self.address)
        requests = [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "taskType": "RETRIEVAL_DOCUMENT",
                "outputDimensionality": DIMENSION,
            }
            for text in texts
        ]
        # No spaces: the server counts texts by the bytes before each.
        body = json.dumps({"requests": requests}, separators=(",", ":"))
        path = "/v1beta/models/gemini-embedding-001:batchEmbedContents"
        self.own.connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = json.loads(self.own.connection.getresponse().read())
        vectors = [embedding["values"] for embedding in answer["embeddings"]]
        assert len(vectors) == len(texts)
        return numpy.array(vectors, dtype=numpy.float32)


def report(rows, found):
    print(json.dumps({"rows": rows, "found": found}))
