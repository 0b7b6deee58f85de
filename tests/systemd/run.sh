#!/usr/bin/env bash
# run.sh [TEXT]: the shipped unit under a real systemd. Boots a machine in
# namespaces, installs with `make install` and proves the claims in claims/
# there, one line each; with TEXT, only those whose line contains it. Uses
# target/release/reindexd as it is. Without root, systemd or namespaces it prints
# that it did not run, which is not a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly CANNOT=77
readonly LIMIT_S=300 # for a slow machine; it takes about a minute

shared=$(mktemp -d "${TMPDIR:-/tmp}/reindexd-systemd-XXXXXX")
shown='' machine=''
cleanup() {
    trap '' INT TERM
    if [ -n "$machine" ]; then
        kill -TERM "$machine" 2>/dev/null || true
        wait "$machine" || true
    fi
    [ -z "$shown" ] || kill "$shown" 2>/dev/null || true
    rm -rf --one-file-system "$shared"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

[ -x target/release/reindexd ] || { echo "systemd: build first: make build" >&2; exit 1; }
# The system's own if it is complete: every tree that can be booted has it.
python=/usr/bin/python3
"$python" -c 'import http.server, sqlite3' 2>/dev/null ||
    python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
sed "s#@python@#$python#" tests/systemd/claims.service >"$shared/claims.service"
printf '%s' "$*" >"$shared/only"
: >"$shared/lines"
tail -f "$shared/lines" &
shown=$!

status=0
timeout --foreground --kill-after=10 "$LIMIT_S" \
    tests/systemd/machine.sh "$shared" claims.service >"$shared/console" 2>&1 &
machine=$!
wait "$machine" || status=$?
machine=
sleep 0.2 # the last line is shown
if [ "$status" -eq "$CANNOT" ]; then
    echo "systemd: this chapter did not run: $(tail -n 1 "$shared/console")"
    exit 0
fi
if [ "$status" -ne 0 ] && ! tail -n 1 "$shared/lines" | grep -q ' failed$'; then
    echo "systemd: FAILED: the claims did not finish ($status); the end of the machine's output:"
    tail -n 20 "$shared/console"
fi
exit "$status"
