# Everything from nothing: Python 3.10 or newer and make are all that is needed.
PYTHON ?= python3
VENV ?= .venv
TRITON_VENV ?= .venv-triton
BIN := $(VENV)/bin

.PHONY: demo test lint slow engines clean

demo: $(VENV)/demo.ready
	$(BIN)/export-onnx --demo -o demo/voice
	$(BIN)/trt-infer demo/voice "Hello world, I missed you." -o demo/hello.wav --plot demo/hello.png
	@echo "listen to demo/hello.wav, look at demo/hello.png"

test: lint $(TRITON_VENV)/ready
	$(BIN)/python -m pytest

lint: $(VENV)/test.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .tools && ln -sfn .. .tools/tacoglow
	cd .tools && ../$(BIN)/mypy --config-file ../pyproject.toml -p tacoglow

# Minutes each: intelligibility, and export at NVIDIA's published dimensions.
slow: $(VENV)/test.ready $(TRITON_VENV)/ready
	$(BIN)/python -m pytest -m slow

# Every graph of the demo voice, and of one of NVIDIA's dimensions, through a real TensorRT builder.
engines: $(VENV)/test.ready
	$(BIN)/python -m pytest -m engines

$(VENV)/%.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "tacoglow needs Python 3.10 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

# A real tritonserver for the tests of serving; its Python backend corrupts tensors of NumPy 2.
$(TRITON_VENV)/ready: pyproject.toml constraints.txt
	test -x $(TRITON_VENV)/bin/python || $(PYTHON) -m venv $(TRITON_VENV)
	sed 's/^numpy==.*/numpy<2/' constraints.txt > $(TRITON_VENV)/constraints.txt
	$(TRITON_VENV)/bin/python -m pip install --quiet --constraint $(TRITON_VENV)/constraints.txt \
	    --editable '.[cpu]' nvidia-pytriton
	touch $@

$(VENV)/demo.ready: EXTRAS := cpu,export,plot
$(VENV)/test.ready: EXTRAS := test

clean:
	rm -rf $(VENV) $(TRITON_VENV) .tools build demo *.egg-info
