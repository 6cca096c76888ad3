# Everything from nothing: Python 3.10 or newer and make are all that is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint slow clean

demo: $(VENV)/demo.ready
	$(BIN)/export-onnx --demo -o demo/voice
	$(BIN)/trt-infer demo/voice "Hello world, I missed you." -o demo/hello.wav --plot demo/hello.png
	@echo "listen to demo/hello.wav, look at demo/hello.png"

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/test.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .tools && ln -sfn .. .tools/tacoglow
	cd .tools && ../$(BIN)/mypy --config-file ../pyproject.toml -p tacoglow

# Minutes each: intelligibility, and export at NVIDIA's published dimensions.
slow: $(VENV)/test.ready
	$(BIN)/python -m pytest -m slow

$(VENV)/%.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "tacoglow needs Python 3.10 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

$(VENV)/demo.ready: EXTRAS := cpu,export,plot
$(VENV)/test.ready: EXTRAS := test

clean:
	rm -rf $(VENV) .tools build demo *.egg-info
