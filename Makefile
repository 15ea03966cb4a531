PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
MINUTES ?= 115
BIN := .venv/bin

.PHONY: serve sample test soak clients-test scale-test lint voice voice-smoke figures noisy bench bench-quick bench-install clean

serve: .venv/serve
	$(BIN)/uvicorn app:app --host $(HOST) --port $(PORT)

# What the README lets one hear.
sample: .venv/serve
	$(BIN)/python tts_core.py "Good evening. The river is quiet tonight." docs/hello.wav --seed 1

# Two at a time, with a thread each: four on two processors wait for each other. What fails beside another is tried once
# more, alone; then, alone, those that compare times, and once more what failed of them: the machine may have neighbours.
test: .venv/test .venv/node lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
	  $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not timing" \
	  || $(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "not slow and not timing"
	$(BIN)/python -m pytest -m "timing and not slow" $$(grep -l mark.timing tests/test_*.py) \
	  || $(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "timing and not slow"

# The long forms: minutes each; again two at a time, then alone.
soak: .venv/test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not timing"
	$(BIN)/python -m pytest -m "slow and timing"

# Voice agents as clients: 0.8 GB, in an environment of their own.
clients-test: .venv/test build/clients/installed
	$(BIN)/python -m pytest tests/test_voice_agents.py

# Two copies under Ray Serve, with the real model: minutes.
scale-test: .venv/test build/ray/installed
	$(BIN)/python -m pytest -m slow tests/test_ray_serve.py

# Style, form, types, walls, lengths.
lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n 2 *.py speech engine server subtitles train tests bench
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --noconftest tests/test_house.py

# Needs Debian's wamerican, hunspell-vi and npm (see train/README.md).
voice: .venv/test
	$(BIN)/python -m train --minutes $(MINUTES)

# The whole recipe on a toy corpus: that it runs and that losses fall.
voice-smoke: .venv/test
	rm -rf build/smoke
	$(BIN)/python -m train --toy 10 --build build/smoke --model build/smoke/model --voices build/smoke/voices

figures: .venv/serve
	$(BIN)/python -m bench.figures
	$(BIN)/python -m bench.formats

# Beside 1, 2 and 4 programs that only spin; BESIDE=FOLDER takes turns with another checkout.
noisy: .venv/test
	$(BIN)/python -m bench.noisy $(if $(BESIDE),--beside $(BESIDE))

# Direct against layers, frameworks and upstream. Nothing else should be running. Upstream needs FFmpeg's libraries: without them it is left out.
bench: bench-install
	$(BIN)/python -m bench

bench-quick: bench-install
	$(BIN)/python -m bench --quick

bench-install: .venv/bench build/bentoml/installed

# The stamps name what is installed, so that a changed requirement installs again.
.venv/serve: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/test: tests/requirements.txt train/requirements.txt requirements-aac.txt requirements-wyoming.txt requirements-postgresql.txt .venv/serve
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

# Where there is no npm, the tests of the openai package for Node are skipped.
.venv/node: tests/node/package-lock.json .venv/serve
	! command -v npm > /dev/null || npm ci --prefix tests/node --no-audit --no-fund --loglevel=error
	touch $@

build/clients/installed: tests/requirements-clients.txt .venv/serve
	$(BIN)/python -m venv build/clients
	build/clients/bin/pip install --quiet --disable-pip-version-check -r tests/requirements-clients.txt
	touch $@

.venv/bench: bench/requirements.txt .venv/serve
	$(BIN)/pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	touch $@

# BentoML's pins do not go with the others': its own environment, with the first one behind it.
build/bentoml/installed: bench/requirements-bentoml.txt .venv/bench
	$(BIN)/python -m venv build/bentoml
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(build/bentoml/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	build/bentoml/bin/pip install --quiet --disable-pip-version-check -r bench/requirements-bentoml.txt
	touch $@

# Ray's many packages in an environment of their own, with the first one behind it.
build/ray/installed: deploy/requirements-ray.txt .venv/serve
	$(BIN)/python -m venv build/ray
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(build/ray/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	build/ray/bin/pip install --quiet --disable-pip-version-check -r deploy/requirements-ray.txt
	touch $@

clean:
	rm -rf .venv build outputs
