"""LlamaIndex's IngestionPipeline with a document store, over its FAISS store that can delete.

A document is a row, embedded as a whole: its record is metadata and no part of
the text. The document store knows what changed, so the pipeline's cache of
whole runs is off. Rows that are deleted from the table are deleted from both
stores. They are saved only when something changed.
"""

import os
import sys

import bench_rows
import faiss
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.faiss import FaissMapVectorStore

DOCUMENTS = "docstore.json"
VECTORS = "default__vector_store.json"


class Vectors(BaseEmbedding):
    _embedder: bench_rows.Embedder = PrivateAttr()

    def __init__(self, address):
        super().__init__(model_name="bench", embed_batch_size=bench_rows.TEXTS_AT_ONCE)
        self._embedder = bench_rows.Embedder(address)

    def _get_text_embeddings(self, texts):
        return self._embedder.embed(texts).tolist()

    def _get_text_embedding(self, text):
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query):
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


def stores_in(folder):
    if os.path.exists(os.path.join(folder, DOCUMENTS)):
        documents = SimpleDocumentStore.from_persist_dir(folder)
        return documents, FaissMapVectorStore.from_persist_dir(folder)
    flat = faiss.IndexFlatIP(bench_rows.DIMENSION)
    return SimpleDocumentStore(), FaissMapVectorStore(faiss.IndexIDMap2(flat))


def document(text, record):
    # Keys that are not embedded: all.
    out = list(record)
    return Document(
        id_=str(record["id"]), text=text, metadata=record, excluded_embed_metadata_keys=out
    )


def main(database, folder, address):
    documents, vectors = stores_in(folder)
    pipeline = IngestionPipeline(
        transformations=[Vectors(address)],
        docstore=documents,
        vector_store=vectors,
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        disable_cache=True,
    )
    rows = [document(text, record) for text, record in bench_rows.tagged_rows(database)]
    if pipeline.run(documents=rows):
        documents.persist(os.path.join(folder, DOCUMENTS))
        vectors.persist(os.path.join(folder, VECTORS))
    bench_rows.report(len(rows), len(found(vectors)))


def found(vectors):
    """The rows of the numbers in the index, by the store's own table.

    The store numbers new vectors by how many it has, so that after a deletion it
    gives a number that another row has.
    """
    numbers = faiss.vector_to_array(vectors.client.id_map).tolist()
    return {vectors._faiss_id_to_node_id_map.get(number) for number in numbers} - {None}


if __name__ == "__main__":
    main(*sys.argv[1:])
