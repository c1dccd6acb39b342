# Everything here needs Python 3.11 or later and make; the rest is installed into .venv on first use, and again
# only when pyproject.toml or constraints.txt change. Choose another interpreter with `make demo PYTHON=...`.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed.stamp
PYTHON ?=
ARGS   ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
LITELLM := $(VENV)/litellm/bin/litellm

# A served process would compile every module anew at each start.
unexport PYTHONDONTWRITEBYTECODE

# An environment whose interpreter has gone, or that was made for another folder, is installed again.
ifneq ($(shell $(BIN)/python -c 'print(open("$(STAMP)").read())' 2>/dev/null),$(CURDIR))
$(shell rm -f $(STAMP))
endif

.DEFAULT_GOAL := help
.PHONY: chromium help demo test long serve check bench bench-cuda bench-gateway bench-ui exact soak crash fuzz clients api-fuzz screens train install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## database, gateway and model: the same questions in every mode, then an offline proof
	$(BIN)/palimpsest demo $(ARGS)

# One thread each, and idle ones sleep rather than spin, so that workers do not wait for each other's; a file stays with its worker.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test: $(STAMP) chromium ## the test suite but for what is marked as long, four workers at a time
	$(PYTEST) -m "not long" $(ARGS)

long: $(STAMP) ## the rest of it: whole commands, crash rounds, kernels in the interpreter
	$(PYTEST) -m long $(ARGS)

serve: $(STAMP) ## keep the gateway running
	$(BIN)/palimpsest serve $(ARGS)

check: $(STAMP) ## lint, format, types, and the arrows between the rooms
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command as lint; lint()'

bench: $(STAMP) ## what each mode buys on this machine, which must be idle (ARGS=--busy overrides)
	$(BIN)/palimpsest bench modes $(ARGS)

bench-cuda: $(STAMP) ## the GPU kernels: their laws and their speed on this machine's CUDA device, and what each takes of a GPU
	$(BIN)/python -m tests.bench.kernels $(ARGS)

bench-ui: $(STAMP) ## every page and address of the API over a million generations and 10,000 held answers (ARGS='--generations 20000')
	$(BIN)/python -m tests.bench.ui $(ARGS)
# LiteLLM stays in an environment of its own: what it needs is none of ours.
bench-gateway: $(STAMP) $(LITELLM) ## our gateway and LiteLLM's proxy, over the same recorded answers (ARGS=--busy overrides)
	$(BIN)/python -m tests.bench.gateway_peers --litellm $(LITELLM) $(ARGS)

exact: $(STAMP) ## strict numerics: a request alone against the same in a crowd, and the causal modes against each other
	$(BIN)/python -m tests.bench.exact $(ARGS)

soak: $(STAMP) ## 500 requests at once, then ten minutes of random load while memory is watched
	$(BIN)/python -m tests.bench.soak $(ARGS)

crash: $(STAMP) ## 100 times kill -9 of database, gateway or both under load, and the log is held against what clients heard
	$(BIN)/python -m tests.faults.crash $(ARGS)

fuzz: $(STAMP) ## ten minutes of mutants for every parser of hostile bytes (ARGS='--minutes 1' for less)
	$(BIN)/python -m tests.faults.fuzz $(ARGS)

clients: $(STAMP) ## aider, Codex CLI, Claude Code, opencode, qwen-code, Continue and SDKs, installed by name, each through a loop that writes a file
	$(BIN)/python -m tests.clients $(ARGS)

api-fuzz: $(STAMP) ## ten minutes of schemathesis over /api/openapi.json (ARGS='--minutes 1' for less)
	$(BIN)/python -m tests.clients.api $(ARGS)

screens: $(STAMP) chromium ## the pictures in gateway/ui/README.md anew
	$(BIN)/python -m pytest -q tests/gateway/ui/screens.py $(ARGS)

train: $(STAMP) ## train the tiny checkpoint anew (three quarters of an hour on two cores)
	$(BIN)/palimpsest train $(ARGS)

install: $(STAMP) chromium ## the virtual environment, and the browser that the tests of the pages drive

clean: ## remove the virtual environment, builds and caches, but never var/ (data and keys)
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The constraints pin torch by version alone, so a build already installed (CPU or CUDA) is never replaced.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --root-user-action=ignore -c constraints.txt -e '.[embedded,demo,dev]'
	@printf '%s' '$(CURDIR)' > $@

# The tests of the pages drive the system's own browser; playwright downloads none.
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "apt-get install chromium"; \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) >/dev/null && exit 0; \
	fi; \
	echo "make: the tests of the pages need a browser; on Debian: apt-get install -y --no-install-recommends chromium" >&2; \
	exit 1
$(LITELLM): | $(BIN)/python
	$(BIN)/python -m venv --clear $(VENV)/litellm
	$(VENV)/litellm/bin/python -m pip --disable-pip-version-check --no-input install 'litellm[proxy]==1.106.2'

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)"; \
	    "$$python" -m venv --clear $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "make: $$python could not make a virtual environment; on Debian and Ubuntu install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "make: Python 3.11 or later is needed and none was found; install one or say PYTHON=/path/to/python3" >&2; \
	exit 1
