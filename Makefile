# Two commands: `make demo` and `make test`. Both install what is missing into $(VENV).
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2  # processes of the tests; each takes up to 2 GB
BIN = $(VENV)/bin

.PHONY: demo test lint install clean

demo: $(VENV)/installed
	$(BIN)/python tools/demo.py

test: $(VENV)/installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(VENV)/installed

# opencv-python, which mmcv asks for, needs libGL and X libraries that a bare machine lacks;
# the headless build of the same version has the same module and needs nothing.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'error: Python 3.10 or newer is needed; set PYTHON=...' >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo 'error: no venv module; on Debian: apt install python3-venv' >&2; exit 2; }
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless
	$(BIN)/python -m pip install --no-deps --constraint constraints.txt opencv-python-headless
	@touch $@

clean:
	rm -rf demo data work_dirs
