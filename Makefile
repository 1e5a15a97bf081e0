# Everything runs in a virtual environment of its own, made at the first use.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all check examples bench format golden clean print-python

demo: $(READY)
	@$(BIN)/python examples/digits/demo.py build/demo

test: $(READY)
	@$(BIN)/python -m pytest -q
	@echo "make test: the tests have passed"

# The properties that are tried against TensorFlow on some 700 checkpoints in `make test`: on 10,000.
test-all: test
	@CHECKPOINT_EXAMPLES=15 $(BIN)/python -m pytest -q -k 'TestSlices or TestV1 or endian or bundle or comes_back' \
		tests/tensorflow/test_bundle_matches_tensorflow.py tests/tensorflow/test_formats_match_tensorflow.py \
		tests/test_conversions.py
	@echo "make test-all: the tests have passed, properties on more than 10,000 checkpoints"

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_public_names.py tests/test_docs.py
	@echo "make check: style, types, floors, public names and documentation are in order"

examples: $(READY)
	@$(BIN)/python examples/check.py

bench: $(READY)
	@$(BIN)/python benchmarks/listing.py
	@$(BIN)/python benchmarks/restoring.py
	@$(BIN)/python benchmarks/changing.py

format: $(READY)
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/python docs/generate.py

# What TensorFlow writes and says: only for a new kind of golden checkpoint.
golden: $(READY)
	@$(BIN)/python -m tests.data.make_golden
	@$(BIN)/python -m tests.data.make_invalid

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (once; TensorFlow alone is 600 MB)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[tf,examples,dev]'
	@touch $(READY)

print-python:
	@echo $(PYTHON)

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
