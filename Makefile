# Sets up everything from a fresh clone. Only Python 3.10 or newer and make are needed.
PYTHON ?= python3
VENV ?= .venv
TRITON_VENV ?= .venv-triton
RELEASE_VENV ?= .venv-release
GPU_VENV ?= .venv-gpu
BIN := $(VENV)/bin
UNUSUAL := slow or engines or builds or gpu
CPP_SOURCES = $(shell find cpp -name '*.[ch]' -o -name '*.[ch]pp')

.PHONY: demo test quick-tests test-all all-tests lint format slow fuzz engines builds bench-host gpu docs lock sbom abi
.PHONY: gpu-day release-check images-check clean

# Exports the demo voice and synthesizes demo/hello.wav with it.
demo: $(VENV)/demo.ready
	$(BIN)/export-onnx --demo -o demo/voice
	$(BIN)/trt-infer demo/voice "Hello world, I missed you." -o demo/hello.wav --plot demo/hello.png
	@echo "listen to demo/hello.wav, look at demo/hello.png; to go on: . $(BIN)/activate (or call $(BIN)/tacoglow)"

# Checks the code, then runs the tests that need nothing but Python; both decide the exit status.
test: $(VENV)/test.ready
	@$(MAKE) --no-print-directory --keep-going lint quick-tests

quick-tests: $(VENV)/test.ready
	$(BIN)/python -m pytest -rs --numprocesses auto --maxprocesses 4 -m "not ($(UNUSUAL) or full)"
	@echo "left out: C++, Triton, Chromium, the blocks of the pages, hostile files, the emulated fused decoder, the slow."
	@echo "'make test-all' has them; it needs g++, cmake, nlohmann-json3-dev and chromium, and skips what is not there"

# Checks the code, then runs every test that has no target of its own below.
test-all: $(VENV)/test.ready $(TRITON_VENV)/ready
	@$(MAKE) --no-print-directory --keep-going lint all-tests

all-tests: $(VENV)/test.ready
	$(BIN)/python -m pytest -rs -m "not ($(UNUSUAL))"

# mypy needs this folder under the package's name, tacoglow.
lint: $(VENV)/test.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run -Werror $(CPP_SOURCES)
	cd .tools && ../$(BIN)/mypy --config-file ../pyproject.toml -p tacoglow
	cd .tools && ../$(BIN)/lint-imports ../pyproject.toml

# Fixes what ruff can fix, and formats Python and C++.
format: $(VENV)/test.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_SOURCES)

# Builds programs against the installed C++ package, resolves extras, compiles the fused kernel and plants faults in it.
builds: $(VENV)/test.ready
	$(BIN)/python -m pytest -rs -m builds

# Builds the documentation as a site in build/site; a broken link or a name that does not exist fails it. --quiet would
# hide the warnings from strict mode, and pass.
docs: $(VENV)/docs.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# Measures the host's time for decoder steps on a GPU, without one: the real cuda-core over the tests' own driver.
bench-host: $(VENV)/test.ready
	$(BIN)/python -m tacoglow.tests.pretend_driver.bench_host

# Everything that a machine with an NVIDIA GPU can tell, in eleven minutes: logs and figures in gpu-day/. In an environment
# of its own, because the tests' ONNX Runtime and that of the GPU overwrite each other.
gpu:
	@$(MAKE) --no-print-directory VENV=$(GPU_VENV) gpu-day

gpu-day: $(VENV)/gpu-day.ready
	$(BIN)/python tools/gpu/day.py

# Runs the slow tests, some minutes each: intelligibility, and export at NVIDIA's published dimensions.
slow: $(VENV)/test.ready $(TRITON_VENV)/ready
	$(BIN)/python -m pytest -m slow

# Tries drawn files, texts and requests for an hour (MINUTES) and says how many; then calls of the C API and manifests in
# C++, and atheris, where it has a wheel, for ten minutes each.
MINUTES ?= 60
fuzz: $(VENV)/test.ready
	$(BIN)/python -m tacoglow.tests.robustness.fuzz --minutes $(MINUTES)
	TACOGLOW_FUZZ_SECONDS=600 $(BIN)/python -m pytest -q -rs -s tests/cpp/test_core.py -k fuzzed
	if $(BIN)/python -m pip install --quiet --only-binary :all: atheris; then mkdir -p build/corpus && \
	    $(BIN)/python -m tacoglow.tests.robustness.fuzz pickles --atheris -max_total_time=600 -timeout=10 \
	    build/corpus tests/robustness/hostile_pickles; fi

LOCK := examples/serving/requirements.txt
PIN = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url
# Pins what the gateway's image installs, and what builds its package, by version and hash, for every Python and platform.
lock: $(VENV)/test.ready
	$(BIN)/python -m pip install --quiet uv
	$(PIN) --extra cpu --extra serve --extra client pyproject.toml -o $(LOCK)
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(PIN) - -o $(dir $(LOCK))build-requirements.txt

# Lists these packages as a CycloneDX software bill of materials.
sbom: $(RELEASE_VENV)/ready
	mkdir -p build
	$(RELEASE_VENV)/bin/cyclonedx-py requirements $(LOCK) --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json

# Builds all that a release has into dist/, installs and uses it; TAG=v0.1.0 for a release. STEPS="packages x86_64" are some.
TAG ?=
STEPS ?=
release-check: $(if $(STEPS),,$(VENV)/test.ready) $(RELEASE_VENV)/ready
	cd .tools && ../$(RELEASE_VENV)/bin/python -m tacoglow.tools.release.check --tag "$(TAG)" $(STEPS)

# Executes the RUN lines of the Dockerfiles in root folders of Debian, and serves demo/voice there. Needs root and debootstrap.
images-check: demo $(RELEASE_VENV)/ready
	cd .tools && ../$(RELEASE_VENV)/bin/python -m tacoglow.tools.release.images ../demo/voice

# Records the binary interface of the C++ library in cpp/abi.txt.
abi: $(RELEASE_VENV)/ready
	cd .tools && ../$(RELEASE_VENV)/bin/python -m tacoglow.tools.release.abi

# Compiles every graph of the demo voice, and of a voice of NVIDIA's dimensions, with a real TensorRT builder.
engines: $(VENV)/test.ready
	$(BIN)/python -m pytest -m engines

# The folder .tools has this one under the package's name, for mypy and mkdocs; so do the users' type checkers by a path
# file, because they do not see an editable installation. Setuptools warns of every one of these.
$(VENV)/%.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "tacoglow needs Python 3.10 or newer: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing tacoglow[$(EXTRAS)] in $(VENV): one or two gigabytes, some minutes"
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@PYTHONWARNINGS="ignore:Editable installation" \
	    $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@mkdir -p .tools && ln -sfn .. .tools/tacoglow
	@$(BIN)/python -c 'import pathlib, sysconfig; \
	    pathlib.Path(sysconfig.get_path("purelib"), "tacoglow-types.pth").write_text("$(CURDIR)/.tools\n")'
	@touch $@

$(RELEASE_VENV)/ready: tools/release/requirements.txt
	test -x $(RELEASE_VENV)/bin/python || $(PYTHON) -m venv $(RELEASE_VENV)
	$(RELEASE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	mkdir -p .tools && ln -sfn .. .tools/tacoglow
	touch $@

# Installs a real tritonserver for the serving tests. Its Python backend corrupts tensors of NumPy 2.
$(TRITON_VENV)/ready: pyproject.toml constraints.txt
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then \
	    echo "no tritonserver: it needs NumPy 1, which has no wheel for Python 3.13; try make PYTHON=python3.12"; \
	else \
	    set -e; \
	    echo "installing a tritonserver in $(TRITON_VENV): half a gigabyte, a minute"; \
	    test -x $(TRITON_VENV)/bin/python || $(PYTHON) -m venv $(TRITON_VENV); \
	    $(TRITON_VENV)/bin/python -m pip install --quiet --upgrade pip; \
	    sed 's/^numpy==.*/numpy<2/' constraints.txt > $(TRITON_VENV)/constraints.txt; \
	    PYTHONWARNINGS="ignore:Editable installation" $(TRITON_VENV)/bin/python -m pip install --quiet \
	        --constraint $(TRITON_VENV)/constraints.txt --editable '.[cpu]' nvidia-pytriton; \
	    touch $@; \
	fi

$(VENV)/demo.ready: EXTRAS := cpu,export,plot
$(VENV)/test.ready: EXTRAS := test
$(VENV)/docs.ready: EXTRAS := docs
$(VENV)/gpu-day.ready: EXTRAS := gpu-day

# Removes everything that the targets above created.
clean:
	rm -rf $(VENV) $(GPU_VENV) $(RELEASE_VENV) $(TRITON_VENV) .tools build dist demo *.egg-info
