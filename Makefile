PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
MINUTES ?= 115
BIN := .venv/bin

.PHONY: serve test soak lint voice voice-smoke figures clean

serve: .venv/serve
	$(BIN)/uvicorn app:app --host $(HOST) --port $(PORT)

test: .venv/test lint
	$(BIN)/python -m pytest

# The long forms: minutes each.
soak: .venv/test
	$(BIN)/python -m pytest -m slow

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/mypy *.py train tests bench

# Needs Debian's flite, wamerican and hunspell-vi (see train/README.md).
voice: .venv/test
	$(BIN)/python -m train --minutes $(MINUTES)

# The whole recipe on a toy corpus: that it runs and that losses fall.
voice-smoke: .venv/test
	rm -rf build/smoke
	$(BIN)/python -m train --utterances 40 --steps 10 --build build/smoke --model build/smoke/model --voices build/smoke/voices

figures: .venv/serve
	$(BIN)/python -m bench.figures

# The stamps name what is installed, so that a changed requirement installs again.
.venv/serve: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/test: tests/requirements.txt train/requirements.txt .venv/serve
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

clean:
	rm -rf .venv build outputs
