"""What the clients of this folder share: tagged rows, their texts, and vectors for them.

Each client is called `NAME.py DATABASE FOLDER ADDRESS`: it brings what lies in
FOLDER up to date with DATABASE, asks the server at ADDRESS for vectors, and
prints how many rows it holds and to how many of them its index leads. Rows and
texts are those of reindexd. Vectors are asked for as Gemini's
`batchEmbedContents` has it, a hundred texts to a request, over connections
that are kept.
"""

import concurrent.futures
import http.client
import json
import sqlite3
import threading

import numpy

DIMENSION = 768
TEXTS_A_REQUEST = 100
REQUESTS_AT_A_TIME = 4
# What a library may hand over at once, so that all requests can be under way.
TEXTS_AT_ONCE = TEXTS_A_REQUEST * REQUESTS_AT_A_TIME

# Columns, and what they are called in the metadata.
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
    """Vectors of unit length from the server, so many requests at a time."""

    def __init__(self, address, at_a_time=REQUESTS_AT_A_TIME):
        self.address = address
        self.at_a_time = at_a_time
        self.own = threading.local()

    def embed(self, texts):
        """One row of an array for each text."""
        batches = [texts[at : at + TEXTS_A_REQUEST] for at in range(0, len(texts), TEXTS_A_REQUEST)]
        with concurrent.futures.ThreadPoolExecutor(self.at_a_time) as pool:
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
