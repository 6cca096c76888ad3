"""Writes a model repository: two models that take text, and three graphs as models for ensembles.

REPOSITORY/NAME/config.pbtxt                    complete speech: Python backend
REPOSITORY/NAME/VERSION/model.py, voice/        the bundle; with TensorRT, engines/ next to it
REPOSITORY/NAME_stream/…                        the same as a stream of segments
REPOSITORY/NAME_encoder, _postnet, _VOCODER     ONNX graphs or TensorRT plans
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runtime.backends.cuda.device import find_gpu
from ..runtime.backends.tensorrt.builder import TerminalProgress
from ..runtime.backends.tensorrt.cache import Engine, EngineRequest, copy_engines, get_or_build_engines, target_of
from ..runtime.backends.tensorrt.versions import load_tensorrt
from ..runtime.bundle.folders import created_directory, link_or_copy, remove_stale_folders, temporary_directory
from ..runtime.bundle.manifest import Manifest
from ..runtime.bundle.reading import find_bundle_files, graph_path, list_bundle_files, load_manifest
from ..runtime.errors import ExportError
from ..runtime.files import atomic_write
from . import DEFAULT_MODEL, STREAM_SUFFIX
from .configs import ServingOptions, graph_config, text_config, warmup_files
from .pbtxt import to_pbtxt
from .python_backend import ENGINES_FOLDER, VOICE_FOLDER

COMPOSABLE = ("encoder", "postnet")  # with the vocoder, the graphs that are models of their own
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MODEL_PY = '''"""Loaded by Triton's Python backend; the model itself is in the tacoglow package."""

from tacoglow.triton_server.text_models import {kind} as TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def export_triton(
    bundle: Path,
    repository: Path,
    name: str = DEFAULT_MODEL,
    version: int = 1,
    options: ServingOptions | None = None,
    force: bool = False,
) -> list[str]:
    """Add a voice to a model repository, which is created if missing; returns the names of the models written.

    Existing versions of the voice stay and use the configuration of the newest export. Models of the same names that
    export_triton has not written are rejected; force: add the voice to them and replace their configurations. With the
    TensorRT backend, engines are copied from the cache, and missing ones are built first.
    Raises ExportError, BundleError or BackendError; then the repository is unchanged.
    """
    manifest, options = load_manifest(bundle), options or ServingOptions()
    for graph, spec in manifest.graphs.items():
        graph_path(bundle, graph, spec)
    graphs = (*COMPOSABLE, manifest.vocoder.kind)
    models = [name, name + STREAM_SUFFIX, *(f"{name}_{graph}" for graph in graphs)]
    _check_version(repository, models, version, manifest)
    if options.compute == "int8" and manifest.int8_decoder is None:
        raise ExportError(f"compute 'int8': {bundle} has no 8-bit decoder; add one with: tacoglow quantize {bundle}")
    if not force:
        _check_replaceable(repository, models)
    max_batch = options.batch_limit(manifest)
    engines = _engines(bundle, manifest, options)
    try:
        # Inside the repository, which may be a separate file system: a rename works only within one.
        place = repository / "export"  # names the temporary folder
        remove_stale_folders(place)
        with created_directory(repository), temporary_directory(place, "new") as folder:
            _write_text_models(folder, bundle, engines, manifest, name, version, options)
            voice = folder / name / str(version) / VOICE_FOLDER
            for graph in graphs:
                file, batch = _graph_file(voice, manifest, engines.get(graph), graph, max_batch)
                config = graph_config(f"{name}_{graph}", manifest.graphs[graph], batch, options)
                _write_graph_model(folder / f"{name}_{graph}", file, config, version)
            for model in models:
                _publish(folder / model, repository / model, str(version))
    except OSError as error:
        raise ExportError(
            f"{repository}: cannot be written: {error.strerror}; choose another folder with -o"
        ) from error
    return models


def _check_version(repository: Path, models: list[str], version: int, manifest: Manifest) -> None:
    """Raises ExportError unless this version of the models can be added to the repository."""
    name = models[0]
    if not NAME.fullmatch(name):
        raise ExportError(f"name {name!r}: expected letters, digits, _ . or -")
    if version < 1:
        raise ExportError(f"model version: expected 1 or more, got {version}")
    for model in models:
        folder = repository / model / str(version)
        if folder.exists():
            raise ExportError(f"{folder}: already exists; use the next --model-version, or another -o")
    for voice in repository.glob(f"{name}/*/{VOICE_FOLDER}"):
        if _interface(load_manifest(voice)) != _interface(manifest):
            raise ExportError(
                f"{voice}: has different symbols or shapes, but the versions of a model share one configuration; "
                "use another --name"
            )


def _check_replaceable(repository: Path, models: list[str]) -> None:
    """Raise ExportError if one of the models exists but is not part of a voice that export_triton wrote."""
    is_own = {
        model: any(find_bundle_files(folder) is not None for folder in repository.glob(f"{model}/*/{VOICE_FOLDER}"))
        for model in models[:2]
    }
    for model in models:
        folder = repository / model
        if (folder.exists() or folder.is_symlink()) and not is_own.get(model, is_own[models[0]]):
            raise ExportError(
                f"{folder}: exists but was not written by export-triton; use another --name, or replace its "
                "configuration with --force"
            )


def _interface(manifest: Manifest) -> tuple[object, ...]:
    """What the configurations of a voice depend on; equal for all its versions."""
    graphs = [manifest.graphs[graph] for graph in (*COMPOSABLE, manifest.vocoder.kind)]
    return manifest.text, [(spec.inputs, spec.outputs) for spec in graphs], manifest.range("B")


def _write_text_models(
    folder: Path,
    bundle: Path,
    engines: Mapping[str, Engine],
    manifest: Manifest,
    name: str,
    version: int,
    options: ServingOptions,
) -> None:
    source = bundle
    for model, kind in ((name, "WholeModel"), (name + STREAM_SUFFIX, "StreamingModel")):
        voice = folder / model / str(version) / VOICE_FOLDER
        voice.mkdir(parents=True)
        for file in list_bundle_files(manifest):
            (shutil.copy2 if source == bundle else link_or_copy)(source / file, voice / file)
        source = voice  # each model has all files, but hard links store the weights only once
        if engines:
            copy_engines(engines, voice.parent / ENGINES_FOLDER)
        (voice.parent / "model.py").write_text(MODEL_PY.format(kind=kind))
        config = text_config(model, manifest, options, is_stream=kind == "StreamingModel")
        (folder / model / "config.pbtxt").write_text(to_pbtxt(config))
        (folder / model / "warmup").mkdir()
        for tensor, content in warmup_files(manifest).items():
            (folder / model / "warmup" / tensor).write_bytes(content)


def _engines(bundle: Path, manifest: Manifest, options: ServingOptions) -> dict[str, Engine]:
    """The engines of all graphs for the local GPU; none for a backend on the CPU.

    Raises BackendError if there is no GPU or no TensorRT.
    """
    if options.backend != "tensorrt":
        return {}
    gpu, tensorrt = find_gpu(options.gpus[0] if options.gpus else 0), load_tensorrt("tensorrt")
    return get_or_build_engines(bundle, manifest, tensorrt, EngineRequest(target_of(gpu, tensorrt)), TerminalProgress())


def _graph_file(voice: Path, manifest: Manifest, engine: Engine | None, graph: str, max_batch: int) -> tuple[Path, int]:
    """The file of a graph that is served as a model, and the largest batch that it accepts."""
    if engine is None:
        return voice / manifest.graphs[graph].file, max_batch
    return voice.parent / ENGINES_FOLDER / engine.path.name, min(engine.engine_key.profile["B"].max, max_batch)


def _write_graph_model(folder: Path, file: Path, config: dict[str, Any], version: int) -> None:
    target = folder / str(version) / f"model{file.suffix}"  # model.onnx, model.plan
    target.parent.mkdir(parents=True)
    link_or_copy(file, target)
    (folder / "config.pbtxt").write_text(to_pbtxt(config))


def _publish(built: Path, model: Path, version: str) -> None:
    """Move a model into the repository by renaming, so that a server that polls it never sees half a version."""
    if not model.exists():
        built.rename(model)
        return
    (built / version).rename(model / version)
    atomic_write(model / "config.pbtxt", (built / "config.pbtxt").read_bytes())
