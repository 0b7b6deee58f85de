"""LangChain's indexing API over its FAISS store, with its record manager in SQLite.

A document is a row: its text is the page, its record the metadata. Rows that are
deleted from the table are deleted from the store (`cleanup="full"`). The store is
saved only when something changed.
"""

import os
import sys

import bench_rows
import faiss
from langchain_classic.indexes import SQLRecordManager
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_community.vectorstores.utils import DistanceStrategy
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index


class Vectors(Embeddings):
    def __init__(self, address):
        self.embedder = bench_rows.Embedder(address)

    def embed_documents(self, texts):
        return self.embedder.embed(texts)

    def embed_query(self, text):
        return self.embedder.embed([text])[0]


def store_in(folder, vectors):
    how = {"distance_strategy": DistanceStrategy.MAX_INNER_PRODUCT}
    if os.path.exists(os.path.join(folder, "index.faiss")):
        return FAISS.load_local(folder, vectors, allow_dangerous_deserialization=True, **how)
    return FAISS(vectors, faiss.IndexFlatIP(bench_rows.DIMENSION), InMemoryDocstore(), {}, **how)


def main(database, folder, address):
    os.makedirs(folder, exist_ok=True)
    store = store_in(folder, Vectors(address))
    records = SQLRecordManager("experts", db_url=f"sqlite:///{folder}/records.db")
    records.create_schema()
    pairs = bench_rows.tagged_rows(database)
    done = index(
        [Document(page_content=text, metadata=record) for text, record in pairs],
        records,
        store,
        batch_size=bench_rows.TEXTS_AT_ONCE,
        cleanup="full",
        source_id_key="id",
        key_encoder="blake2b",
    )
    if done["num_added"] or done["num_deleted"]:
        store.save_local(folder)
    names = [store.index_to_docstore_id[place] for place in range(store.index.ntotal)]
    found = {store.docstore.search(name).metadata["id"] for name in names}
    bench_rows.report(len(pairs), len(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
