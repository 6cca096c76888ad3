"""Imports run downward only and without cycles, and an inference machine needs neither PyTorch nor ONNX."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Package -> the packages that it may import.
LAYERS = {
    "text": {"text"},
    "models": {"models"},
    "runtime": {"runtime", "text"},
    "export": {"export", "models", "runtime", "text"},
    "benchmarks": {"benchmarks", "export", "models", "runtime", "text"},
    "cli": {"cli", "benchmarks", "export", "models", "runtime", "text"},
    "tools": {"tools", "benchmarks", "export", "models", "runtime", "text"},
}
# The modules and packages directly in runtime: each may import only those before it.
RUNTIME_ORDER = [
    "errors",
    "files",
    "wav_writer",
    "formats",
    "output",
    "manifest",
    "contract",
    "external_data",
    "bundle",
    "noise",
    "options",
    "stretch",
    "pieces",
    "timestamps",
    "subtitles",
    "audio",
    "decoder",
    "backends",
    "vocoder",
    "acoustic",
    "stream",
    "synthesizer",
    "handle",
    "decoding_rows",
    "lanes",
    "scheduler_metrics",
    "speeches",
    "scheduler",
    "plot",
    "serving",
]
HEAVY = {"torch", "torchaudio", "onnx", "onnxscript", "tensorrt", "tensorrt_rtx", "matplotlib", "onnxruntime"}
# File -> what it may import inside functions although an inference machine may lack it.
LAZY = {
    "text/numbers.py": {"typeguard"},
    "runtime/plot.py": {"matplotlib"},
    "runtime/formats.py": {"av"},
    "runtime/backends/onnxruntime.py": {"onnxruntime"},
    "runtime/backends/bfloat16.py": {"onnx"},
    "runtime/backends/cuda/onnxruntime.py": {"onnxruntime"},
    "runtime/backends/torchscript.py": {"torch"},
    "runtime/serving/client.py": {"tritonclient"},
    "runtime/serving/gateway/upstream.py": {"tritonclient", "grpc"},
    "runtime/serving/python_backend.py": {"triton_python_backend_utils"},
    "runtime/backends/cuda/stream.py": {"cuda"},
    "runtime/backends/cuda/nvrtc.py": {"cuda"},
    "runtime/backends/cuda/noise.py": {"cuda"},
    "runtime/backends/cuda/fused/kernel.py": {"cuda"},
    "runtime/backends/cuda/fused/weights.py": {"onnx"},
}
# Packages whose files all need an extra -> what they import although an inference machine may lack it.
EXTRA_PACKAGES = {"runtime/serving/gateway": {"anyio", "h11", "starlette", "uvicorn", "wyoming"}}
# Distribution -> its import name, if that is not the distribution's name.
IMPORT_NAMES = {"python-dateutil": "dateutil"}

Scope = Literal["module", "function", "typing"]


@dataclass(frozen=True)
class Import:
    file: str  # relative to the root
    line: int
    name: str  # absolute and including the imported name, which may be a module: tacoglow.text.FrontEnd
    scope: Scope

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}: {self.name}"

    @property
    def source(self) -> str:
        """The importing module."""
        return module_name(ROOT / self.file)

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    @property
    def layer(self) -> str | None:
        """The layer that is imported; "" for the root package, None for a package that is not tacoglow's."""
        parts = self.name.split(".")
        if parts[0] != "tacoglow":
            return None
        return parts[1] if len(parts) > 1 and (ROOT / parts[1]).exists() else ""


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, wherever it is in the file."""
    file = path.relative_to(ROOT)
    package = ["tacoglow", *file.parent.parts]

    def visit(node: ast.AST, scope: Scope) -> Iterator[Import]:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            stem = [*base, *([node.module] if node.module else [])]
            names = [".".join([*stem, alias.name]) for alias in node.names]
        yield from (Import(str(file), node.lineno, name, scope) for name in names)  # type: ignore[attr-defined]
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                yield from visit(statement, "typing")
            for statement in node.orelse:
                yield from visit(statement, scope)
            return
        inner: Scope = "function" if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) else scope
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inner)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), "module")


def imports_in(layer: str) -> list[Import]:
    files = sorted((ROOT / layer).rglob("*.py")) if layer else sorted(ROOT.glob("*.py"))
    return [found for file in files for found in imports_of(file)]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["tacoglow", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def core_dependencies() -> set[str]:
    """The import names of the packages that `pip install tacoglow` installs."""
    listing = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.M | re.S)
    assert listing is not None
    names = re.findall(r'"([A-Za-z0-9_.-]+)', listing[1])
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def test_import_walk_finds_every_scope() -> None:
    found = {(entry.name, entry.scope) for entry in [*imports_in("runtime"), *imports_in("cli")]}
    assert ("tacoglow.text.FrontEnd", "module") in found  # from ..text import FrontEnd
    assert ("tacoglow.runtime.bundle.load_manifest", "function") in found  # from ..runtime.bundle, inside a function
    assert ("onnx", "typing") in found
    assert ("onnx", "function") in found
    assert ("numpy", "module") in found


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_downward(layer: str) -> None:
    upward = [
        entry.where
        for entry in imports_in(layer)
        if entry.layer not in {None, *LAYERS[layer]} and entry.name != "tacoglow.__version__"
    ]
    assert not upward


def test_runtime_imports_downward() -> None:
    modules = [path.stem for path in (ROOT / "runtime").glob("*.py") if path.stem != "__init__"]
    packages = [path.parent.name for path in (ROOT / "runtime").glob("*/__init__.py")]
    assert sorted(RUNTIME_ORDER) == sorted(modules + packages)
    upward = [
        entry.where
        for entry in imports_in("runtime")
        if (target := runtime_part(entry.name)) in RUNTIME_ORDER
        and (source := runtime_part(entry.source)) in RUNTIME_ORDER
        and RUNTIME_ORDER.index(target) > RUNTIME_ORDER.index(source)
    ]
    assert not upward


def runtime_part(name: str) -> str:
    """The part of runtime that a module belongs to: "decoder", "backends"; "" outside of runtime and for its root."""
    parts = name.split(".")
    return parts[2] if parts[:2] == ["tacoglow", "runtime"] and len(parts) > 2 else ""


def test_no_import_cycles() -> None:
    entries = [entry for layer in LAYERS for entry in imports_in(layer)]
    modules = {module_name(path) for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    edges = []
    for entry in entries:
        target = entry.name if entry.name in modules else entry.name.rpartition(".")[0]  # the name may be in a module
        if target in modules - {entry.source}:
            edges.append((entry.source, target))
    assert ("tacoglow.runtime.stream", "tacoglow.runtime.decoder") in edges
    check_no_cycle(edges)


@pytest.mark.parametrize(
    "edges",
    [
        [("a.x", "a.y"), ("a.y", "a.x")],  # two modules
        [("a.x", "b.x"), ("b.y", "a.y")],  # two packages, but no two modules
        [("a.b.x", "a.c.x"), ("a.c.y", "a.d"), ("a.d", "a.b.y")],  # nested packages and a module
        [("a", "a.x"), ("a.x", "a")],  # a package's __init__ and its module
    ],
)
def test_cycle_check_finds_cycles(edges: list[tuple[str, str]]) -> None:
    check_no_cycle(edges[:-1])
    with pytest.raises(CycleError):
        check_no_cycle(edges)


def check_no_cycle(edges: Iterable[tuple[str, str]]) -> None:
    """Raises CycleError if modules or packages import each other in a circle.

    An import of b.y in b.x is an edge x -> y; an import of c.y in b.x is an edge b -> c between their packages.
    """
    graph = TopologicalSorter[str]()
    for source, target in edges:
        ours, theirs = source.split("."), target.split(".")
        depth = next(i for i in count(1) if ours[:i] != theirs[:i])
        graph.add(".".join(ours[:depth]), ".".join(theirs[:depth]))
    graph.prepare()


@pytest.mark.parametrize("layer", ["", *LAYERS])
def test_own_modules_are_imported_relatively(layer: str) -> None:
    """A bare `import text` would import a different package of that name."""
    bare = [entry.where for entry in imports_in(layer) if entry.top in LAYERS]
    assert not bare


@pytest.mark.parametrize("layer", ["text", "runtime"])
def test_synthesis_needs_only_core_dependencies(layer: str) -> None:
    allowed = core_dependencies() | set(sys.stdlib_module_names) | {"tacoglow"}
    others = [
        entry.where
        for entry in imports_in(layer)
        if entry.scope != "typing"
        and entry.top not in allowed
        and not (entry.scope == "function" and entry.top in LAZY.get(entry.file, set()))
        and entry.top not in EXTRA_PACKAGES.get(str(Path(entry.file).parent), set())
    ]
    assert not others


def test_root_modules_import_nothing_heavy() -> None:
    heavy = [entry.where for entry in imports_in("") if entry.top in HEAVY and entry.file != "hubconf.py"]
    assert not heavy


# Makes these packages impossible to import, as on a machine with only the core dependencies and ONNX Runtime.
HIDE_PACKAGES = """
import sys

ABSENT = {
    "torch", "torchaudio", "onnx", "onnxscript", "tensorrt", "tensorrt_rtx",
    "matplotlib", "scipy", "av", "starlette", "uvicorn",
}

class HidingFinder:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *arguments):
        return None if name.split(".")[0] in ABSENT else self.finder.find_spec(name, *arguments)

sys.meta_path[:] = map(HidingFinder, sys.meta_path)
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("torch can still be imported")
"""
IMPORT_ALL_AND_SYNTHESIZE = """
import importlib, pkgutil
import tacoglow, tacoglow.cli, tacoglow.export, tacoglow.models, tacoglow.runtime, tacoglow.text

packages = tacoglow.runtime, tacoglow.text
modules = [m.name for package in packages for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
assert "tacoglow.runtime.backends.onnxruntime" in modules
for module in modules:
    if not module.startswith("tacoglow.runtime.serving.gateway."):  # all of it needs the extra `serve`
        importlib.import_module(module)

tts = tacoglow.Synthesizer.load(sys.argv[1])
audio = tts.say("Hello world, I missed you.", seed=1)
audio.save("hello.wav")
assert len(audio.samples) > 0
assert not ABSENT & set(sys.modules)
"""
RUN_COMMAND = """
from tacoglow import cli
sys.argv[0] = sys.argv.pop(1)
getattr(cli, sys.argv[0].replace("-", "_") + "_main" if "-" in sys.argv[0] else "main")()
"""


def run_hidden(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HIDE_PACKAGES + script, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_synthesis_without_torch_onnx_and_tensorrt(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_hidden(IMPORT_ALL_AND_SYNTHESIZE, tiny_bundle, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hello.wav").stat().st_size > 44


def test_command_line_without_torch_onnx_and_tensorrt(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_hidden(RUN_COMMAND, "trt-infer", tiny_bundle, "Hello.", "-o", "hello.wav", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run_hidden(RUN_COMMAND, "tacoglow", "doctor", cwd=tmp_path).returncode == 0


def test_bench_of_a_bundle_runs_without_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    arguments = ["bench", tiny_bundle, "--frames", 8, "--tokens", 10, "--runs", 2, "-o", "figures.json"]
    done = run_hidden(RUN_COMMAND, "tacoglow", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert [row["pipeline"] for row in report["speed"]] == ["tacoglow onnxruntime"]
    assert report["ceilings"]["CPU, fp32"]["bytes_per_second"] > 0


def test_missing_package_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_hidden(RUN_COMMAND, "export-onnx", "--demo", "-o", "voice", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: torch is not installed; ")
    done = run_hidden(RUN_COMMAND, "trt-infer", tiny_bundle, "Hi.", "-o", "hi.wav", "--plot", "hi.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: --plot needs matplotlib" in done.stderr
    assert not list(tmp_path.iterdir())
