# `make` lists the targets. Everything is installed into .venv; nothing outside this folder changes.

PYTHON ?= python3
URL ?= http://127.0.0.1:8000
VENV := .venv
BIN := $(VENV)/bin
PROTOCOL := service/api/v2/grpc/open_inference
PIP := $(BIN)/python -m pip --require-virtualenv --disable-pip-version-check --no-input \
	$(if $(MAKE_TERMOUT),,--quiet)
COMPILE := CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --strip-extras \
	--unsafe-package pip --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install serve test image-test gpu-test bench load soak check lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/requirements.lock  ## set up .venv with what the service needs

serve: $(VENV)/requirements.lock  ## start the service; flags by ARGS="--port 9000"
	@$(BIN)/sge-serve serve $(ARGS)

test: $(VENV)/requirements-dev.lock  ## run the tests; the slow ones by ARGS="-m slow"
	@$(BIN)/python -m pytest $(ARGS)

image-test: $(VENV)/requirements-dev.lock  ## build the cpu image and check it running; ARGS=cuda for the other
	@tests/docker/image_test.sh $(ARGS)

gpu-test: $(VENV)/requirements-dev.lock  ## everything that needs an NVIDIA GPU, with a report; ARGS="--json report.json"
	@$(BIN)/python -m tests.gpu $(ARGS)

bench: $(VENV)/requirements-dev.lock  ## measure; ARGS="engines", "decode", "service" or "profile", --help for flags
	@$(BIN)/python -m tests.bench $(ARGS)

load: $(VENV)/requirements-dev.lock  ## load a running service in 3 minutes; URL=..., flags by ARGS="--html report.html"
	@$(BIN)/python -m tests.load --url $(URL) $(ARGS)

soak: $(VENV)/requirements-dev.lock  ## 30 minutes of clients and faults of every kind; ARGS="--minutes 5"
	@$(BIN)/python -m tests.soak $(ARGS)

check: $(VENV)/requirements-dev.lock  ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lock: $(VENV)/requirements-dev.lock  ## pin what pyproject.toml asks for; newer releases by ARGS=--upgrade
	$(COMPILE) $(ARGS) --all-build-deps --extra cuda --extra grpc --extra otel \
		--output-file requirements.lock pyproject.toml
	$(COMPILE) $(ARGS) --all-build-deps --extra cuda --extra dev --extra grpc --extra int8 --extra load \
		--extra onnx --extra otel \
		--constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

clean:  ## remove .venv and every cache
	rm -rf $(VENV) $(PROTOCOL)_pb2.py* build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .coverage htmlcov
	find . -name __pycache__ -prune -exec rm -rf {} +

# The copy of a lock file in .venv says what is installed. pip takes a half-copied package for a
# whole one; it writes INSTALLER last, so a package without one is forgotten and installed again.
$(VENV)/%.lock: %.lock pyproject.toml setup.py $(PROTOCOL).proto
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed and "$(PYTHON)" is not: make PYTHON=python3.12 ...'; exit 1; } >&2
	@mkdir -p $(VENV)/lib
	@find $(VENV)/lib -maxdepth 3 -name '*.dist-info' ! -exec test -e {}/INSTALLER \; -exec rm -rf {} +
	@ls $(VENV)/lib/*/site-packages/pip-*/INSTALLER >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
		{ echo 'No virtual environment: on Debian and Ubuntu, install the package python3-venv'; exit 1; } >&2
	@echo 'Installing $<; the first time this takes minutes and about 5 GB, most of it for torch.'
	@$(PIP) install --requirement $<
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@cp $< $@
