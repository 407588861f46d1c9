# Needs python3 (3.11 to 3.14) and make, nothing else. `make` alone lists what can be made.
PYTHON ?= python3
SECONDS ?=
ONLY ?=
RECORD ?=
RECORDED ?=
KILLS ?= 300
BROKER_KILLS ?=
SEED ?= 1
FOLDER ?= var/torture
MINUTES ?= 30
UV ?= uv
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all check format bench torture soak quality pictures dashboards screenshots docs reference lock clean system

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(BIN)/detector system ## .venv, from the hash-locked requirements, with .venv/bin/detector in it; and system packages, where it may

run: $(BIN)/detector ## a local Kafka, a synthetic company, a model, live alerts; Ctrl-C ends it, SECONDS=60 ends it by itself
	@$(BIN)/detector sandbox demo $(if $(SECONDS),--seconds $(SECONDS))

test: setup ## every test but the slow ones, on a real Kafka (under 30 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow and not broker" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "not slow and broker" -n 3 --dist loadfile

test-all: setup ## every test, at full lengths
	$(BIN)/python -m pytest

check: setup ## lint, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/quality/*.py
	$(BIN)/mypy config/grafana/*.py
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: setup ## rewrite the sources in the one format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: setup ## CPU time an event, of each stage; latency of alerts; how long a takeover and a training take (under 12 minutes)
	$(BIN)/python tests/bench/drain.py
	$(BIN)/python tests/bench/forest.py
	$(BIN)/python tests/bench/latency.py
	$(BIN)/python tests/bench/takeover.py
	$(BIN)/python tests/bench/training.py

torture: setup ## KILLS=300 of services, BROKER_KILLS=30, SEED=1 under load, then all is compared (under 30 minutes; goes on where it was interrupted)
	@$(BIN)/python tests/torture --kills $(KILLS) $(if $(BROKER_KILLS),--broker-kills $(BROKER_KILLS)) --seed $(SEED) --folder $(FOLDER)

soak: setup ## MINUTES=30 of load with a fault every 5 minutes, then a backlog and a burst: memory flat, nothing lost
	@$(BIN)/python tests/soak --minutes $(MINUTES)

quality: setup ## how well it detects and what that costs, beside the previous run (under 12 minutes); ONLY=companies for a section
	@$(BIN)/python tests/quality $(if $(ONLY),--only $(ONLY)) $(if $(RECORD),--record)

pictures: setup ## draw docs/pictures anew from replays of the synthetic companies (about 2 minutes)
	@$(BIN)/python tests/quality/pictures.py

dashboards: setup ## write config/grafana/dashboards anew from the code beside them
	@$(BIN)/python config/grafana

screenshots: setup ## draw docs/images anew: dashboards, from a recorded Prometheus, and the tutorial (8 minutes; RECORDED=FOLDER: of an earlier run)
	@$(BIN)/python tests/screenshots $(if $(RECORDED),--recorded $(RECORDED))

docs: setup ## the documentation as a site, in var/site; a broken link fails
	$(BIN)/zensical build --strict

reference: setup ## the parts of docs/reference that are made from the code (settings, commands, metrics, topics, signals)
	@$(BIN)/python tests/reference

lock: ## renew requirements/*.txt from pyproject.toml (needs uv)
	$(COMPILE) pyproject.toml --output-file requirements/service.txt
	$(COMPILE) pyproject.toml --output-file requirements/dev.txt --all-extras --group dev
	echo hatchling | $(COMPILE) - --output-file requirements/build.txt --constraint requirements/dev.txt

clean: ## remove what was made here: .venv, caches, left-overs of runs (not the jars in ~/.cache/detector)
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist var
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Universal: one file for every platform and Python version. No address in it: the installer's own settings say where packages come from.
COMPILE := $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

# Programs that tests need, of Debian packages: prometheus and promtool; systemd-analyze. Never on a machine that runs systemd, where they would start services.
system:
	@for needed in prometheus promtool systemd-analyze; do command -v $$needed > /dev/null || missing="$$missing $$needed"; done; \
	test -z "$$missing" && exit 0; \
	if test "$$(id -u)" = 0 && command -v apt-get > /dev/null && ! test -d /run/systemd/system; then \
		echo "installing$$missing, by the Debian packages prometheus and systemd"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends prometheus systemd > /dev/null && exit 0; \
	fi; \
	echo "not on this machine:$$missing. Tests that need them fail until somebody runs, as root:" \
		"apt-get install --no-install-recommends prometheus systemd"

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.venv/requirements.stamp: requirements/dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 14) or sys.exit(\
	f"$(PYTHON) is Python {v[0]}.{v[1]}; the detector needs 3.11 to 3.14. Name another one: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@

$(BIN)/detector: .venv/requirements.stamp pyproject.toml
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
