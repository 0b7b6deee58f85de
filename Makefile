# Everything here is a few lines that could be typed by hand. All of cargo uses
# the release profile, so that Faiss is compiled once.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help demo test check build clean setup

# Where tests/setup.sh puts a newer cmake, if the system's is too old for Faiss.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

READER := target/reader-venv
export REINDEXD_TEST_PYTHON := $(CURDIR)/$(READER)/bin/python

help: ## these lines
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: setup ## the agent at work on 1,558 invented experts; no key, no network
	@data/sample/demo.sh

test: setup $(READER)/ready ## every test, with a Python reader beside it
	cargo test --release --locked

check: setup $(READER)/ready ## format, lints, tests, documentation; warnings are errors
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings
	cargo test --release --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --document-private-items

build: setup ## target/release/reindexd
	cargo build --release --locked

clean: ## removes what the demo made, and nothing else
	rm -rf target/demo

setup:
	@tests/setup.sh

$(READER)/ready: tests/reader/requirements.txt | setup
	python3 -m venv --clear $(READER)
	$(READER)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: -r $<
	touch $@
