#!/usr/bin/env python3
"""Judges a run file with pytrec_eval, for every k from 1 to the last.

    trec_eval.py QRELS RUN LAST_K

QRELS is in BEIR's layout, RUN as `reindexd eval --run` writes it. Prints one
JSON object: for each k the mean over all queries with a score above 0 of
nDCG, recall and MRR of the run cut at k.
"""
import collections
import json
import sys

import pytrec_eval

qrels_path, run_path, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
qrels = collections.defaultdict(dict)
with open(qrels_path, encoding="utf-8") as lines:
    next(lines)
    for line in lines:
        query, record, score = line.rstrip("\n").split("\t")
        qrels[query][record] = int(score)
qrels = {query: judged for query, judged in qrels.items() if max(judged.values()) > 0}
run = collections.defaultdict(list)
with open(run_path, encoding="utf-8") as lines:
    for line in lines:
        query, _, record, _, score, _ = line.split()
        run[query].append((record, float(score)))
found = {}
for k in range(1, last + 1):
    cut = {query: dict(sorted(ranked, key=lambda one: -one[1])[:k]) for query, ranked in run.items()}
    names = {f"ndcg_cut_{k}", f"recall_{k}", "recip_rank"}
    each = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(cut)
    mean = lambda name: sum(each.get(query, {}).get(name, 0.0) for query in qrels) / len(qrels)
    found[k] = {"ndcg": mean(f"ndcg_cut_{k}"), "recall": mean(f"recall_{k}"), "mrr": mean("recip_rank")}
json.dump(found, sys.stdout)
