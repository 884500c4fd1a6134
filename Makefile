# What a developer, a first-time visitor and the CI run; `make` alone lists it. Whatever needs Docker asks dev/engine first.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup engine compiler networks browser sdks image lint format test test-image test-long test-unit sanitize coverage nightly returns-inputs mutants faults soak scale oracle fidelity console-figures demo console bench down generate site site-version pictures audit sbom reproducible clean

# An image's build trusts what this host trusts: a proxy that inspects TLS signs PyPI with a certificate of its own.
CA_BUNDLE ?= $(firstword $(wildcard $(SSL_CERT_FILE) $(REQUESTS_CA_BUNDLE) /etc/ssl/certs/ca-certificates.crt) /dev/null)
export CA_BUNDLE

# What the image says of itself, and the date that its files get: the commit's, so that the same commit gives the same image.
BUILD = docker buildx build --secret id=ca_bundle,src=$(CA_BUNDLE) \
    --build-arg SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct) \
    --build-arg CREATED=$(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd) \
    --build-arg REVISION=$(shell git describe --always --dirty --abbrev=40 --exclude='*') \
    --build-arg BASE_DIGEST=$(shell docker image inspect --format '{{range .RepoDigests}}{{.}} {{end}}' debian:trixie-slim 2>/dev/null | sed -n 's/^[^ ]*@\([^ ]*\).*/\1/p') \
    --build-arg PACKAGES_DATE=$(PACKAGES_DATE)

# The host's uv, or else one of this project's own.
UV := $(if $(shell uv --version 2>/dev/null),uv,.tools/bin/uv)
VENV := .venv/.synced
BIN := .venv/bin
ARGS ?=
FAULTS ?=

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: engine $(VENV) ## Prepare this host: a Docker engine where a bare one has none, and the Python tools

engine:
	@dev/engine

# Without ensurepip, as on a bare Debian, python3 makes no environment.
.tools/bin/uv: dev/uv.txt
	@if ! python3 -c 'import ensurepip' 2>/dev/null; then \
	    if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then \
	        echo "uv is not installed and python3 cannot make an environment for it: install uv, or python3 with venv, then run again" >&2; exit 1; \
	    fi; \
	    echo "setup: install python3-venv"; export DEBIAN_FRONTEND=noninteractive; \
	    said=$$({ apt-get update -qq || true; apt-get install -y -qq --no-install-recommends python3-venv; } </dev/null 2>&1) \
	        || { echo "$$said" >&2; exit 1; }; \
	fi
	@echo "setup: install uv into .tools"
	@python3 -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement dev/uv.txt
	@touch $@

$(VENV): pyproject.toml uv.lock | $(filter .tools/%,$(UV))
	@echo "setup: sync the Python packages into .venv"
	@$(UV) sync --quiet --frozen --group dev
	@touch $@

image: engine ## Build postroad:latest and print its size; VERBOSE=1 shows the whole build
	@dev/quietly "image: build postroad:latest" $(BUILD) --progress plain --load --tag postroad:latest .
	@id=$$(docker create postroad:latest); trap "docker rm -v $$id >/dev/null" EXIT; \
	    docker export $$id | wc -c | awk '{printf "postroad:latest: %.0f MB unpacked\n", $$1 / 1e6}'

lint: $(VENV) ## Check the code, the types, the layers, the workflows, the Dockerfiles and the shell scripts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --quiet --offline .github
	git ls-files --cached --others --exclude-standard '*Dockerfile*' | xargs $(BIN)/hadolint
	git grep --untracked -nIE '^#!.*[/ ](ba|da)?sh( |$$)' | sed -n 's/:1:.*//p' | xargs $(BIN)/shellcheck

format: $(VENV) ## Lay the code out and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: $(VENV) image compiler browser sdks networks ## Run the whole suite against the image; ARGS='-k dkim' chooses
	$(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0 $(ARGS)

# `coverage` and `test-long` run all others. A worker that hangs is not replaced: the new one would run the same test.
IMAGE_TESTS = -v -n 3 --dist loadfile --max-worker-restart 0
test-image: $(VENV) image compiler browser sdks ## Run the tests of the image, and what it takes a compiler or Node.js for, but the long ones
	$(BIN)/pytest $(IMAGE_TESTS) -m '(docker or compiler or node) and not long' $(ARGS)

test-long: $(VENV) image networks ## Run the long tests of the image: races, clocks, a Swarm of two engines; half an hour
	$(BIN)/pytest $(IMAGE_TESTS) -m long $(ARGS)

test-unit: $(VENV) ## Run the tests that need neither Docker nor a compiler nor Node.js
	$(BIN)/pytest -m 'not docker and not compiler and not node' $(ARGS)

sanitize: $(VENV) compiler ## Run what is preloaded into sendmail under ASan and UBSan
	$(BIN)/pytest tests/preload $(ARGS)

# $(1): as root on Debian, install these packages; else say so: $(2) is what they are for the reader.
APT = { [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null && { apt-get update -qq || true; } \
    && apt-get install -y -qq --no-install-recommends $(1); } </dev/null >/dev/null \
    || { echo "$(2) not installed: install $(1), or run make test-unit, which needs none" >&2; exit 1; }

# gcc brings the sanitizers' libraries
compiler:
	@gcc --version >/dev/null 2>&1 || $(call APT,gcc libc6-dev,gcc is)

# Debian's Chromium, which Playwright drives; the fonts are for Korean
browser:
	@chromium --version >/dev/null 2>&1 || $(call APT,chromium fonts-nanum,Chromium is)

# the networks between the engines of a Swarm
networks:
	@PATH=$$PATH:/usr/sbin:/sbin ip -V >/dev/null 2>&1 || $(call APT,iproute2,ip is)

SDKS := tests/sdks/node_modules/.package-lock.json
sdks: $(SDKS) ## Install the vendors' SDKs for Node.js, which the tests of docs/vendors.md send with

$(SDKS): tests/sdks/package.json tests/sdks/package-lock.json
	@npm --version >/dev/null 2>&1 || $(call APT,nodejs npm,npm is)
	@echo "setup: install the vendors' SDKs into tests/sdks/node_modules"
	@npm ci --prefix tests/sdks --ignore-scripts --no-audit --no-fund --silent
	@touch $@

coverage: $(VENV) ## Run the tests of `make test-unit` and hold the branches that ran, room by room, against their floors
	$(BIN)/pytest -q -n 2 -m 'not docker and not compiler and not node' --cov --cov-report= $(ARGS)
	@mkdir -p dist
	@$(BIN)/coverage json -q -o dist/coverage.json
	@$(BIN)/python -m dev.coverage_floors dist/coverage.json

# What it finds is pinned: an @example beside the property, or a row of the table that the test has.
nightly: $(VENV) ## Run the tests that make their own cases with another seed, and a thousand cases each; SEED=x repeats a run
	@seed=$(or $(SEED),$$RANDOM$$RANDOM); echo "nightly: SEED=$$seed repeats this run"; \
	    POSTROAD_SEED=$$seed $(BIN)/pytest -q --hypothesis-profile=many --hypothesis-seed=$$seed \
	    -m '(hypothesis or seeded) and not docker and not compiler and not node' --timeout 1800 $(ARGS)

returns-inputs: $(VENV) ## Bring `returns` 100,000 sessions and as many messages, made at random; CASES=1000 SEED=x choose
	@seed=$(or $(SEED),$$RANDOM$$RANDOM); echo "returns-inputs: SEED=$$seed repeats this run"; \
	    folder=$$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	    POSTROAD_SEED=$$seed POSTROAD_CASES=$(or $(CASES),100000) $(BIN)/pytest -v -s -n 4 --basetemp "$$folder/tests" \
	    tests/unit/test_returns_flood.py tests/unit/test_returns_sessions.py $(ARGS)

mutants: $(VENV) ## Change the rooms without I/O in small ways, and count the changes that the fast tests notice; takes hours: SAMPLE=1200 tries so many at random, ARGS='postroad.events.*' chooses
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m dev.mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(ARGS)

faults: $(VENV) image ## Inject every fault, account for every message, fill docs/reliability.md; FAULTS='packets dns-gone' chooses
	$(BIN)/python -m tests.faults --json dist/faults.json --docs docs/reliability.md $(FAULTS) $(ARGS)

soak: $(VENV) $(if $(POSTROAD_IMAGE),engine,image) ## A steady mixed load with faults and reloads at random, for an hour; SOAK=10m for less, ARGS='--docs docs/reliability.md' fills its table
	$(BIN)/python -m tests.faults.soak --for $(or $(SOAK),1h) --json dist/soak.json $(ARGS)

scale: $(VENV) networks $(if $(POSTROAD_IMAGE),engine,image) ## A Swarm of five engines here, with relays that are replaced, cut off and lost under load: the account of every message; needs root. ARGS='update cut' chooses
	$(BIN)/python -m tests.scale --json dist/scale.json $(ARGS)

oracle: $(VENV) engine ## Hold the doctor against receivers' own programs: a message for each state of the DNS, 5,000 SPF records
	$(BIN)/python -m tests.oracle $(ARGS)

fidelity: $(VENV) $(if $(POSTROAD_IMAGE),engine,image) ## Send 20,000 messages at random through the image and compare what arrives, telling how far it is; MESSAGES=1000 SEED=x choose
	POSTROAD_MESSAGES=$(or $(MESSAGES),20000) POSTROAD_SEED=$(or $(SEED),1) $(BIN)/pytest tests/integration/test_fidelity.py $(ARGS)

console-figures: $(VENV) $(if $(POSTROAD_IMAGE),engine,image) browser ## What the console's first page weighs and takes with a million events, in SQLite and in PostgreSQL; EVENTS=1000 chooses
	POSTROAD_CONSOLE_EVENTS=$(or $(EVENTS),1000000) $(BIN)/pytest tests/integration/test_console_figures.py $(ARGS)

demo: image ## Send a mail through a pretend internet and show what arrived
	demo/run

console: image ## Start the demo with the console, and an app that goes on sending; prints where it is
	demo/run console

bench: $(VENV) $(if $(POSTROAD_IMAGE),engine,image) ## Measure the image beside its peers, for docs/performance.md; BENCH=short only sees that it works
	$(BIN)/python -m bench $(if $(filter short,$(BENCH)),--short) $(ARGS)

# Tests label all that they make: a run that was killed leaves it, and what other trees' tests made is not ours to remove.
LEFT := --quiet --filter label=postroad.test.tree=$(CURDIR)
down: ## Remove what the demo, the tests and the benchmark left in Docker
	@! docker info >/dev/null 2>&1 || { demo/run down && { \
	    docker container ls --all $(LEFT) | xargs -r docker container rm --force --volumes; \
	    docker network ls $(LEFT) | xargs -r docker network rm; \
	    docker volume ls $(LEFT) | xargs -r docker volume rm; } >/dev/null; }

generate: $(VENV) ## Write what follows from the models of configuration and events, and from the name of releases
	$(BIN)/python -m dev.config_files
	$(BIN)/python -m dev.webhook_schema >docs/webhook.schema.json
	$(BIN)/python -m dev.openapi >docs/openapi.json
	$(BIN)/python -m dev.published
	$(BIN)/python -m dev.chart

SITE = NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(UV) run --quiet --frozen --no-project --with-requirements <($(UV) export --quiet --frozen --only-group site)

site: $(VENV) ## Build the pages of docs/ as a site with search, into dist/site; links that lead nowhere fail it
	$(SITE) mkdocs build

site-version: $(VENV) ## Put the site of VERSION beside those of other releases, on the local branch gh-pages; push is yours
	$(SITE) mike deploy --update-aliases $(VERSION) latest
	$(SITE) mike set-default latest

pictures: $(VENV) browser $(if $(POSTROAD_IMAGE),engine,image) ## Take the README's pictures: what doctor and trace print, and the console, in a pretend internet
	TESTCONTAINERS_RYUK_DISABLED=true $(BIN)/python -m dev.pictures

audit: $(VENV) image ## Ask PyPI and Debian for known vulnerabilities of what the image holds
	UV=$(UV) dev/audit postroad:latest

sbom: $(VENV) image ## Write what the image holds to dist/postroad.cdx.json (CycloneDX)
	@mkdir -p dist
	$(BIN)/python -m dev.sbom postroad:latest >dist/postroad.cdx.json

reproducible: $(VENV) engine ## Build twice from nothing, and print in what the two file systems differ
	@mkdir -p dist
	@for n in 1 2; do echo "build $$n of 2"; $(BUILD) --quiet --no-cache --output type=tar,dest=dist/rootfs-$$n.tar . ; done
	@$(BIN)/python -m dev.reproducible dist/rootfs-1.tar dist/rootfs-2.tar; rm dist/rootfs-[12].tar

clean: ## Remove what setup and the tools left in this tree, and the image
	@! docker image inspect postroad:latest >/dev/null 2>&1 || docker image rm postroad:latest
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mutants dist .coverage
