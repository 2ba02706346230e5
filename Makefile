# One command sets up (make venv), one shows (make quickstart), one checks (make test; make test-all adds what is slow). Python 3.11, 3.12 or 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-all lint bench bench-gpu soak flags-page docs walk venv clean

quickstart: venv
	$(BIN)/python run_experiments.py --flagfile=flags/quickstart.flags

# Two files at a time: much of the time is spent on starting TensorFlow, on one processor. The order of the files is kept: xdist
# would begin with the files that have many tests, and end with the few long ones on one processor.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: venv
	$(PYTEST) -m "not slow"

test-all: venv
	$(PYTEST)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: venv
	$(BIN)/python -m tests.bench

# The table of a machine with a GPU; without one it says so.
bench-gpu: venv
	$(BIN)/python -m tests.bench gpu

soak: venv
	$(BIN)/python -m tests.soak

# Writes the tables of docs/flags.md again, after a change of the settings.
flags-page: venv
	$(BIN)/python -m tests.write_flags

# The site of the docs, in build/site. A dead link or a missing page is an error.
docs: .venv-docs/.installed
	.venv-docs/bin/mkdocs build --strict

# The tools of the docs have an environment of their own: they read the program's source, and do not import it.
.venv-docs/.installed: constraints/docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r constraints/docs.txt
	@touch $@

# What a new user meets, from the wheel on: writes docs/first-five-minutes.md.
walk: venv
	$(BIN)/python -m tests.walk

venv: $(VENV)/.installed

# The versions that were tested together: onnx2tf is another one from Python 3.12 on.
$(VENV)/.installed: pyproject.toml constraints/python3.11.txt constraints/python3.12.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("tfinvert needs Python 3.11, 3.12 or 3.13, this is %d.%d: try make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints/python$$($(BIN)/python -c 'import sys; print("3.11" if sys.version_info < (3, 12) else "3.12")').txt \
	  -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-docs out build dist *.egg-info
