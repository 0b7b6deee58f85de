# Everything here is a few lines that could be typed by hand. All of cargo uses
# the release profile, so that Faiss is compiled once.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help demo test systemd-test proof soak bench check build install uninstall clean setup

# Where tests/setup.sh puts a newer cmake, if the system's is too old for Faiss.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

READER := target/reader-venv
export REINDEXD_TEST_PYTHON := $(CURDIR)/$(READER)/bin/python

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup ## the agent at work on 1,558 invented experts; no key, no network
	@data/sample/demo.sh

test: setup $(READER)/ready ## the tests, with a Python reader beside them
	cargo test --release --locked
	tests/systemd/run.sh

systemd-test: build $(READER)/ready ## the unit under a systemd in namespaces; as root
	tests/systemd/run.sh

REPORT := $(CURDIR)/target/proof
PROOF := REINDEXD_PROOF=full REINDEXD_PROOF_REPORT=$(REPORT) cargo test --release --locked --test proof -- --include-ignored
PRINT_REPORT = for chapter in $(REPORT)/*.txt; do printf '\n== %s\n' "$$(basename $$chapter .txt)"; cat $$chapter; done

proof: $(READER)/ready ## kills, power cuts, faults and load in full, with one report; as root
	@tests/setup.sh proof
	rm -rf $(REPORT)
	$(PROOF) --skip soak; ended=$$?; $(PRINT_REPORT); exit $$ended

SOAK ?= 1h
soak: setup $(READER)/ready ## everything at once for a while: make soak SOAK=8h
	rm -f $(REPORT)/soak.txt
	REINDEXD_SOAK=$(SOAK) $(PROOF) soak --nocapture; ended=$$?; $(PRINT_REPORT); exit $$ended

LINES :=
bench: build ## what it costs, compared with the least it must: make bench LINES="1 6", LINES="shapes cold core libraries", TURNS=5 IDLE=600
	install -D target/release/reindexd target/bench/reindexd
	REINDEXD_BENCH_PROGRAM=$(CURDIR)/target/bench/reindexd cargo bench --locked --bench bench -- $(LINES)

check: setup $(READER)/ready ## format, lints, tests, documentation; warnings are errors
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings
	cargo test --release --locked
	tests/systemd/run.sh
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --document-private-items
	@if cargo deny --version > /dev/null 2>&1; then cargo deny --locked check licenses bans sources; \
	else echo "cargo-deny is not installed: licences and sources of dependencies not checked"; fi

build: setup ## target/release/reindexd
	cargo build --release --locked

# Where things go: DESTDIR for packages, PREFIX for the program.
PREFIX ?= /usr/local
BIN := $(DESTDIR)$(PREFIX)/bin
DOC := $(DESTDIR)$(PREFIX)/share/doc/reindexd
UNITS := $(DESTDIR)/etc/systemd/system
SETTINGS := $(DESTDIR)/etc/reindexd

install: ## program, unit, user and settings; as root, after `make build`
	install -D -m 0755 target/release/reindexd $(BIN)/reindexd
	install -D -m 0644 -t $(DOC) README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md LICENSE systemd/examples/*
	install -D -m 0644 -t $(DOC)/docs docs/*.md
	install -D -m 0644 systemd/reindexd.sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/reindexd.conf
	install -D -m 0644 systemd/reindexd.tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/reindexd.conf
	install -d $(UNITS) && for unit in reindexd.service reindexd@.service; do sed 's#/usr/local/#$(PREFIX)/#g' systemd/$$unit > $(UNITS)/$$unit || exit; done
	[ -e $(SETTINGS)/reindexd.toml ] || install -D -m 0640 systemd/reindexd.toml $(SETTINGS)/reindexd.toml
	@[ -n "$(DESTDIR)" ] || { systemd-sysusers reindexd.conf && systemd-tmpfiles --create reindexd.conf && systemctl daemon-reload; }
	@echo "next: edit /etc/reindexd/reindexd.toml, put the API key into /etc/reindexd/embedding-api-key (mode 0600), systemctl enable --now reindexd"
	@echo "the API reads as a member of the group reindexd: usermod -aG reindexd API_USER, then restart it; other ways: docs/operations.md, who may read"

uninstall: ## removes what install put there; settings, key and data stay
	@[ -n "$(DESTDIR)" ] || systemctl disable --now reindexd.service 2>/dev/null || true
	@[ -n "$(DESTDIR)" ] || { systemctl stop 'reindexd@*.service'; systemctl disable reindexd@.service; } 2>/dev/null || true
	rm -f $(BIN)/reindexd $(UNITS)/reindexd.service $(UNITS)/reindexd@.service $(DESTDIR)/usr/lib/sysusers.d/reindexd.conf $(DESTDIR)/usr/lib/tmpfiles.d/reindexd.conf
	rm -rf $(DOC)
	@[ -n "$(DESTDIR)" ] || systemctl daemon-reload
	@echo "left alone: /etc/reindexd, /var/lib/reindexd and /var/lib/reindexd-*"

clean: ## removes what the demo made, and nothing else
	rm -rf target/demo

setup:
	@tests/setup.sh

$(READER)/ready: tests/reader/requirements.txt tests/reader/trec-eval.txt | setup
	python3 -m venv --clear $(READER)
	$(READER)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	$(READER)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes \
		-r tests/reader/trec-eval.txt || echo "no pytrec_eval for this Python: its test is not run"
	touch $@
