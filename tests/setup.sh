#!/usr/bin/env bash
# Sees to what cargo cannot: the compilers and libraries that Faiss is built
# with, and Python. Looks first, installs only what is missing, on Debian and
# Ubuntu; elsewhere names it and stops. Where all is there it takes no time and
# touches nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CMAKE_LEAST=3.24 # what Faiss asks for
readonly CMAKE_VENV=target/cmake-venv
readonly TOOLS=target/tools/bin # the Makefile puts it first in PATH

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }
# A package counts as there if dpkg has it or if what it is for works: tools may come from elsewhere.
links() { echo 'int main() { return 0; }' | c++ -x c++ - "$@" -o /dev/null 2>/dev/null; }
certificates() { [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ]; }

missing_packages() {
    have cmake || echo cmake
    have c++ && have cc || echo g++
    have make || echo make
    have pkg-config || echo pkg-config
    have python3 || echo python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    # Without threads of its own: a flat index is searched by Faiss itself, and threads that wait spin.
    installed libopenblas-serial-dev || links -lblas -llapack || echo libopenblas-serial-dev
    certificates || echo ca-certificates
    have strace || echo strace
}

# What `make proof` needs beside: a block device that logs its writes, and a file system on it.
missing_for_proof() {
    have qemu-storage-daemon || echo qemu-utils
    have mkfs.ext4 || echo e2fsprogs
    have losetup && have mount || echo mount
}

install() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "missing: $*; as root: apt-get install $*"
        as_root=(sudo)
    fi
    say "missing: $*; installing with apt-get"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

cmake_version() { "$1" --version | sed -n '1s/^cmake version \([0-9.]*\).*/\1/p'; }

# Ubuntu 22.04 has 3.22. A newer one from pip, in a folder of its own, does as well.
newer_cmake() {
    local found
    found=$(cmake_version cmake)
    at_least "$CMAKE_LEAST" "$found" && return
    if [ ! -x "$TOOLS/cmake" ] || ! at_least "$CMAKE_LEAST" "$(cmake_version "$TOOLS/cmake")"; then
        say "cmake $found is older than $CMAKE_LEAST; installing a newer one in $CMAKE_VENV"
        python3 -m venv --clear "$CMAKE_VENV"
        "$CMAKE_VENV/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r tests/cmake.txt ||
            fail "cmake $CMAKE_LEAST or later is needed, found $found, and pip could not get it"
        mkdir -p "$TOOLS"
        ln -sfn "$PWD/$CMAKE_VENV/bin/cmake" "$TOOLS/cmake"
    fi
    case ":$PATH:" in
        *":$PWD/$TOOLS:"*) ;;
        *) say "to call cargo by hand: export PATH=\"$PWD/$TOOLS:\$PATH\"" ;;
    esac
}

rust() {
    local least found
    least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have cargo || fail "cargo is missing; Rust $least or later: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    found=$(cargo --version | cut -d ' ' -f 2)
    at_least "$least" "$found" || fail "Rust $least or later is needed, found $found; with rustup: rustup update stable"
}

mapfile -t missing < <(missing_packages; [ "${1:-}" != proof ] || missing_for_proof)
if [ ${#missing[@]} -gt 0 ]; then
    if ! have apt-get || ! have dpkg-query; then
        fail "missing, by their names on Debian: ${missing[*]}; install them (BLAS and LAPACK must link as -lblas -llapack)"
    fi
    install "${missing[@]}"
fi
newer_cmake
rust
