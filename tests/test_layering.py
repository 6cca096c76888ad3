"""Imports go downward only, and an inference machine needs neither PyTorch nor ONNX."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {
    "text": {"text"},
    "models": {"models"},
    "runtime": {"runtime", "text"},
    "export": {"export", "models", "runtime", "text"},
    "benchmarks": {"benchmarks", "export", "models", "runtime", "text"},
    "cli": {"cli", "benchmarks", "export", "models", "runtime", "text"},
    "tools": {"tools", "benchmarks", "export", "models", "runtime", "text"},
}
# The order of the modules and folders of runtime: each imports only from those before it.
RUNTIME_ORDER = [
    "errors",
    "files",
    "manifest",
    "bundle",
    "noise",
    "options",
    "pieces",
    "audio",
    "decoder",
    "backends",
    "vocoder",
    "acoustic",
    "stream",
    "synthesizer",
    "plot",
    "wav_writer",
    "serving",
]
HEAVY = {"torch", "torchaudio", "onnx", "onnxscript", "tensorrt", "tensorrt_rtx", "matplotlib", "onnxruntime"}
# Inside functions of these files alone may the runtime import what an inference machine may lack.
LAZY = {
    "runtime/plot.py": {"matplotlib"},
    "runtime/backends/onnxruntime.py": {"onnxruntime"},
    "runtime/backends/bfloat16.py": {"onnx"},
    "runtime/backends/cuda/onnxruntime.py": {"onnxruntime"},
    "runtime/backends/torchscript.py": {"torch"},
    "runtime/serving/client.py": {"tritonclient"},
    "runtime/serving/python_backend.py": {"triton_python_backend_utils"},
    "runtime/backends/cuda/stream.py": {"cuda"},
    "runtime/backends/cuda/fused/kernel.py": {"cuda"},
    "runtime/backends/cuda/fused/weights.py": {"onnx"},
}
# Distributions whose import name is another.
IMPORT_NAMES = {"python-dateutil": "dateutil"}

Scope = Literal["module", "function", "typing"]


@dataclass(frozen=True)
class Import:
    file: str  # relative to the root
    line: int
    name: str  # absolute, the imported name included: it may be a module
    scope: Scope

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}: {self.name}"

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    @property
    def layer(self) -> str | None:
        """Which part of ours it names: a layer, "" for the root package, None if it is not ours."""
        parts = self.name.split(".")
        if parts[0] != "tacoglow":
            return None
        return parts[1] if len(parts) > 1 and (ROOT / parts[1]).exists() else ""


def imports_of(path: Path) -> Iterator[Import]:
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


def core_dependencies() -> set[str]:
    """The import names of what `pip install tacoglow` brings."""
    listing = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.M | re.S)
    assert listing is not None
    names = re.findall(r'"([A-Za-z0-9_.-]+)', listing[1])
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def test_the_walk_sees_every_kind_of_import() -> None:
    found = {(entry.name, entry.scope) for entry in [*imports_in("runtime"), *imports_in("cli")]}
    assert ("tacoglow.text.FrontEnd", "module") in found  # from ..text import FrontEnd
    assert ("tacoglow.runtime.bundle.load_manifest", "function") in found  # from ..runtime.bundle, inside a function
    assert ("onnx", "typing") in found
    assert ("onnx", "function") in found
    assert ("numpy", "module") in found


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_lies_below(layer: str) -> None:
    upward = [
        entry.where
        for entry in imports_in(layer)
        if entry.layer not in {None, *LAYERS[layer]} and entry.name != "tacoglow.__version__"
    ]
    assert not upward


def test_runtime_imports_downward() -> None:
    """Within runtime too: a module or folder of it imports only from those before it in RUNTIME_ORDER."""
    places = {path.stem for path in (ROOT / "runtime").iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert places - {"__init__", "__pycache__"} == set(RUNTIME_ORDER)
    rank = {name: i for i, name in enumerate(RUNTIME_ORDER)}
    upward = []
    for entry in imports_in("runtime"):
        source, target = Path(entry.file).parts[1].removesuffix(".py"), entry.name.split(".")[2:3]
        if entry.name.startswith("tacoglow.runtime.") and source in rank and target[0] in rank:
            upward += [entry.where] if rank[target[0]] > rank[source] else []
    assert not upward


def test_no_cycles_between_modules_or_packages() -> None:
    modules = {module_name(path) for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    edges: dict[str, set[str]] = {module: set() for module in modules}
    for entry in (entry for layer in LAYERS for entry in imports_in(layer)):
        source = module_name(ROOT / entry.file)
        target = entry.name if entry.name in modules else entry.name.rpartition(".")[0]
        if target in modules and target != source:
            edges[source].add(target)
    assert not cycle_in(edges)
    packages: dict[str, set[str]] = {}
    for source, targets in edges.items():
        for target in targets:
            ours, theirs = diverging_packages(source, target)
            if ours != theirs:
                packages.setdefault(ours, set()).add(theirs)
                packages.setdefault(theirs, set())
    assert ("tacoglow.runtime.backends.tensorrt", "tacoglow.runtime.backends.cuda") in {
        (source, target) for source, targets in packages.items() for target in targets
    }
    assert not cycle_in(packages)


def test_cycles_are_found() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]
    assert not cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert diverging_packages("tacoglow.runtime.stream", "tacoglow.text.split") == ("tacoglow.runtime", "tacoglow.text")
    assert diverging_packages("tacoglow.a.b.x", "tacoglow.a.c.y") == ("tacoglow.a.b", "tacoglow.a.c")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["tacoglow", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def diverging_packages(source: str, target: str) -> tuple[str, str]:
    """The two siblings under the closest common package: packages, or a package and a module beside it."""
    ours, theirs = source.split("."), target.split(".")
    common = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )
    return ".".join(ours[: common + 1]), ".".join(theirs[: common + 1])


def cycle_in(edges: dict[str, set[str]]) -> list[str]:
    """A cycle of the graph, or nothing."""
    state: dict[str, Literal["open", "done"]] = {}

    def search(node: str, path: list[str]) -> list[str]:
        state[node] = "open"
        for successor in sorted(edges[node]):
            if state.get(successor) == "open":
                return [*path, node][[*path, node].index(successor) :]
            if successor not in state and (found := search(successor, [*path, node])):
                return found
        state[node] = "done"
        return []

    return next((found for node in sorted(edges) if node not in state and (found := search(node, []))), [])


@pytest.mark.parametrize("layer", ["", *LAYERS])
def test_our_modules_are_imported_relatively(layer: str) -> None:
    """A bare `import text` would find someone else's package."""
    bare = [entry.where for entry in imports_in(layer) if entry.top in LAYERS]
    assert not bare


@pytest.mark.parametrize("layer", ["text", "runtime"])
def test_speaking_needs_the_core_dependencies_only(layer: str) -> None:
    allowed = core_dependencies() | set(sys.stdlib_module_names) | {"tacoglow"}
    beyond = [
        entry.where
        for entry in imports_in(layer)
        if entry.scope != "typing"
        and entry.top not in allowed
        and not (entry.scope == "function" and entry.top in LAZY.get(entry.file, set()))
    ]
    assert not beyond


def test_nothing_heavy_at_the_root() -> None:
    heavy = [entry.where for entry in imports_in("") if entry.top in HEAVY and entry.file != "hubconf.py"]
    assert not heavy


# Run where nothing but the core dependencies and ONNX Runtime can be imported.
WITHOUT = """
import sys

ABSENT = {"torch", "torchaudio", "onnx", "onnxscript", "tensorrt", "tensorrt_rtx", "matplotlib"}

class WithoutThem:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *arguments):
        return None if name.split(".")[0] in ABSENT else self.finder.find_spec(name, *arguments)

sys.meta_path[:] = map(WithoutThem, sys.meta_path)
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("torch is still there")
"""
EVERYTHING = """
import importlib, pkgutil
import tacoglow, tacoglow.cli, tacoglow.export, tacoglow.models, tacoglow.runtime, tacoglow.text

packages = tacoglow.runtime, tacoglow.text
modules = [m.name for package in packages for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
assert "tacoglow.runtime.backends.onnxruntime" in modules
for module in modules:
    importlib.import_module(module)

tts = tacoglow.Synthesizer.load(sys.argv[1])
audio = tts.say("Hello world, I missed you.", seed=1)
audio.save("hello.wav")
assert len(audio.samples) > 0
assert not ABSENT & set(sys.modules)
"""
COMMAND = """
from tacoglow import cli
sys.argv[0] = sys.argv.pop(1)
getattr(cli, sys.argv[0].replace("-", "_") + "_main" if "-" in sys.argv[0] else "main")()
"""


def run_without(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT + script, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_speaks_without_torch_onnx_and_tensorrt(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_without(EVERYTHING, tiny_bundle, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hello.wav").stat().st_size > 44


def test_the_command_line_without_torch_onnx_and_tensorrt(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_without(COMMAND, "trt-infer", tiny_bundle, "Hello.", "-o", "hello.wav", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run_without(COMMAND, "tacoglow", "doctor", cwd=tmp_path).returncode == 0


def test_bench_of_a_bundle_runs_without_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    arguments = ["bench", tiny_bundle, "--frames", 8, "--tokens", 10, "--runs", 2, "-o", "figures.json"]
    done = run_without(COMMAND, "tacoglow", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert [row["pipeline"] for row in report["speed"]] == ["tacoglow onnxruntime"]
    assert report["ceilings"]["CPU, fp32"]["bytes_per_second"] > 0


def test_what_is_missing_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_without(COMMAND, "export-onnx", "--demo", "-o", "voice", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: torch is not installed; ")
    done = run_without(COMMAND, "trt-infer", tiny_bundle, "Hi.", "-o", "hi.wav", "--plot", "hi.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: --plot needs matplotlib" in done.stderr
    assert not list(tmp_path.iterdir())
