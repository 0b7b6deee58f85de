#!/usr/bin/env bash
# The agent from start to stop, in target/demo: a first build, three questions,
# how well it answers sixty others, 25 people tagged, one small build, a normal stop. Any result other than the
# promised one ends the demo with status 1. No key, no network.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sample=$root/data/sample
demo=$root/target/demo
readonly FIRST_BUILD_S=300 # generous: about 1,400 texts through the local model
readonly NEXT_BUILD_S=60
readonly STOP_S=10
readonly TAGGED=25

# The demo's settings are in its file; variables for a real host must not reach it.
unset DATABASE_URL FAISS_INDEX_PATH METADATA_PATH EMBEDDING_PROVIDER EMBEDDING_MODEL OUTPUT_DIM INGEST_BATCH_SIZE \
    GOOGLE_API_KEY GEMINI_API_KEY OPENAI_API_KEY GOOGLE_GEMINI_BASE_URL \
    REINDEXD_CONFIG CREDENTIALS_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC JOURNAL_STREAM

step() { printf '\n== %s\n' "$*"; }
good() { printf '   ok: %s\n' "$*"; }
fail() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    exit 1
}

agent='' shown=''
alive() { [ -n "$agent" ] && kill -0 "$agent" 2>/dev/null; }
wait_gone() { # SECONDS: true once the agent has ended
    local until=$((SECONDS + $1))
    while alive; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.05
    done
}
cleanup() {
    if alive; then
        kill -TERM "$agent"
        wait_gone "$STOP_S" || kill -KILL "$agent" 2>/dev/null || true
    fi
    [ -z "$shown" ] || wait "$shown" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# JSON on standard input; prints the value at a path such as served.id, or nothing.
pick() {
    python3 -c '
import functools, json, sys
step = lambda at, key: at.get(key) if isinstance(at, dict) else None
value = functools.reduce(step, sys.argv[1].split("."), json.load(sys.stdin))
print("" if value is None else value)
' "$1"
}
# A pass may be running now, so a missing answer is not a failure.
status() { "$reindexd" status --json --config reindexd.toml 2>/dev/null || true; }
served() { status | pick "served.$1" 2>/dev/null || true; }
modified() { python3 -c 'import os, sys; print(os.lstat(sys.argv[1]).st_mtime_ns // 1_000_000)' "$1"; } # of a link: the link itself

wait_served() { # SECONDS OLD: until a build other than OLD is served; its id is then in $build
    local began=$SECONDS printed_at=0
    while build=$(served id); [ -z "$build" ] || [ "$build" = "$2" ]; do
        alive || fail "the agent has ended; its log is $demo/agent.log"
        [ $((SECONDS - began)) -lt "$1" ] || fail "no new build within $1 s; the agent's log is $demo/agent.log"
        if [ $((SECONDS - began)) -ge $((printed_at + 2)) ]; then
            printed_at=$((SECONDS - began))
            printf '   … %d s\n' "$printed_at"
        fi
        sleep 0.2
    done
}

step "building reindexd (Faiss is compiled the first time; that takes minutes)"
cd "$root"
cargo build --release --locked
reindexd=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)/reindexd

step "a host with people in a SQLite table: $demo"
rm -rf "$demo"
mkdir -p "$demo/data"
cd "$demo"
python3 "$sample/load.py" data/experts.db
cp "$sample/queries.jsonl" "$sample/qrels.tsv" data/
cat > reindexd.toml <<'TOML'
[source]
database = "data/experts.db"

[trigger]
marker = "data/tagging-complete"
quiet  = "2s"

[embedding]
provider = "local"

[publish]
index    = "data/faiss.index"
metadata = "data/metadata.json"

[evaluate]
queries = "data/queries.jsonl"
qrels   = "data/qrels.tsv"
TOML
sed 's/^/   | /' reindexd.toml

step "reindexd run: nothing is served yet, so it builds"
began=$SECONDS
"$reindexd" run --config reindexd.toml > agent.log 2>&1 &
agent=$!
tail -n +1 -s 0.1 --pid="$agent" -f agent.log 2>/dev/null | sed -u 's/^/   agent | /' &
shown=$!
wait_served "$FIRST_BUILD_S" ""
first=$build
people=$(served records)
[ "$(served embedded)" = "$people" ] || fail "$people people but $(served embedded) texts embedded"
good "$people people embedded and served as $first after $((SECONDS - began)) s"

step "three questions, in plain words"
ask() { # QUESTION CATEGORY: three answers, the first from the category that a person would expect
    printf '\n   %s\n' "$1"
    "$reindexd" search "$1" -k 3 --config reindexd.toml | sed 's/^/   /'
    local found
    found=$("$reindexd" search "$1" -k 3 --json --config reindexd.toml | python3 -c '
import json, sys
results = json.load(sys.stdin)["results"]
print(len(results), results[0]["record"]["category"])')
    [ "$found" = "3 $2" ] || fail "expected 3 answers, the first from $2; found $found"
}
ask "an irregular heartbeat in an old man" Health
ask "my dog bites strangers" Animals
ask "who can get ransomware off our computers" Computing

step "how well it answers judged questions: data/queries.jsonl"
"$reindexd" eval --config reindexd.toml | sed 's/^/   /'
ndcg=$(served evaluation.ndcg)
python3 -c 'import sys; sys.exit(not 0.4 < float(sys.argv[1]) <= 1)' "${ndcg:-0}" ||
    fail "expected an nDCG above 0.4 in status, found ${ndcg:-none}"
good "nDCG@10 $ndcg; a later build that answers worse by more than 0.05 would not be served"

step "tag_experts.py tags $TAGGED more and touches the marker"
python3 "$sample/tag_experts.py" data/experts.db data/tagging-complete "$TAGGED"
wait_served "$NEXT_BUILD_S" "$first"
[ "$(served embedded)" = "$TAGGED" ] || fail "$TAGGED people were tagged but $(served embedded) texts embedded"
[ "$(served kept)" = "$people" ] || fail "$people vectors could be reused but $(served kept) were"
[ "$(served records)" = $((people + TAGGED)) ] || fail "$((people + TAGGED)) people expected, $(served records) served"
good "$build: $TAGGED embedded, $people kept; $(($(modified data/current) - $(modified data/tagging-complete))) ms from touch to promoted"

step "SIGTERM"
kill -TERM "$agent"
wait_gone "$STOP_S" || fail "the agent still runs $STOP_S s after SIGTERM"
code=0
wait "$agent" || code=$?
agent=''
wait "$shown" || true
shown=''
[ "$code" = 0 ] || fail "the agent ended with $code, expected 0"
ls -l data/builds | sed 's/^/   /'
left=$(find data -name '*.staging')
[ -z "$left" ] || fail "staging is left: $left"
[ "$(readlink data/current)" = "builds/$build" ] || fail "current leads to $(readlink data/current), expected builds/$build"
good "ended with 0, no staging is left"

cat <<NEXT

== what to try next
   cd $demo
   $reindexd status
   $reindexd search "someone to save our old orchard"
   $reindexd plan             # nothing to do; tag ten more and ask again:
   python3 $sample/tag_experts.py data/experts.db data/tagging-complete 10
   $reindexd build
   $reindexd history
   $reindexd rollback
NEXT
