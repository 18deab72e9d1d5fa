# Everything from a fresh clone: make demo, make test. Needs Python 3.11 or newer, and a package index for pip.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= 2.13.0
# What pip is asked for before anything else can ask for a range of torch, for instance a CPU build kept elsewhere:
# make install TORCH_SPEC='torch==2.13.0 --index-url https://...'
TORCH_SPEC ?= torch==$(TORCH)
# Test processes; pytest's own flags, for instance PYTEST_FLAGS='-q -k cosine'
JOBS ?= 2
PYTEST_FLAGS ?= -q

bin := $(VENV)/bin
# -qq: the index's warnings are not ours to mend, its errors are shown
pip := $(bin)/python -m pip --disable-pip-version-check --no-input install -qq --progress-bar off
# loadfile: what a file prepares once for all of its tests is prepared once
pytest := $(bin)/python -m pytest $(PYTEST_FLAGS) -n $(JOBS) --dist loadfile

.PHONY: help venv install develop demo test test-long lint typecheck quality site tools grafana-conformance clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' $(MAKEFILE_LIST) | awk '{ printf "  make %-10s", $$2; $$1 = $$2 = ""; print }'

venv: $(bin)/python  ## a virtual environment in .venv, still empty

install: $(VENV)/installed  ## torch, and lrwatch from this checkout

develop: $(VENV)/developed  ## and what its tests need

demo: install  ## a run that goes wrong, and what lrwatch says about it
	@$(bin)/python examples/demo.py

test: develop tools lint typecheck  ## what CI runs
	@$(pytest)

test-long: develop tools  ## the same tests, and those that take minutes
	@$(pytest) -m ''

lint: develop  ## ruff over everything
	@$(bin)/ruff check .

typecheck: develop  ## mypy --strict over lrwatch/
	@$(bin)/mypy

quality: develop  ## detection, causes and false alarms on 600 random runs: the README's table
	@$(bin)/python benchmarks/quality.py

site: install  ## the documentation as a site, in site/
	@$(pip) -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(bin)/python -m mkdocs build --quiet --strict
	@echo 'open site/index.html'

tools:  ## Prometheus, Alertmanager, their checkers, kubectl, docker-compose and a browser, unpacked into .tools where they are not on PATH
	@tests/tools.sh
	@PYTHON="$$(command -v $(bin)/python || echo $(PYTHON))" tests/deploy/tools.sh
	@tests/browser.sh
	@PYTHON='$(bin)/python' tests/grafana.sh

grafana-conformance: develop  ## API=file: our schemas against Grafana's description of its API (public/api-merged.json)
	@$(bin)/python -m tests.grafana.conformance '$(API)'

clean:  ## remove what make and the tools made
	rm -rf $(VENV) .tools build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(bin)/python:
	$(if $(shell $(PYTHON) -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) and print("ok")' 2>/dev/null),,\
	$(error lrwatch needs Python 3.11 or newer with its venv module, which "$(PYTHON)" is not; \
	name another with PYTHON=..., or on Debian and Ubuntu install python3-venv))
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# Installed again when what is asked for changes: the dependencies or the torch.
$(VENV)/installed: pyproject.toml $(VENV)/torch-spec
	@echo "installing $(TORCH_SPEC) (the large one: up to a few minutes)"
	@$(pip) $(TORCH_SPEC)
	@echo "installing lrwatch"
	@$(pip) -e '.[torch]'
	@touch $@

$(VENV)/developed: $(VENV)/installed
	@echo "installing the development tools"
	@$(pip) -e '.[dev,torch]'
	@touch $@

$(VENV)/torch-spec: $(bin)/python always
	@echo '$(TORCH_SPEC)' | cmp -s - $@ || echo '$(TORCH_SPEC)' > $@

.PHONY: always
