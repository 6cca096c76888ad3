"""`tacoglow inspect --trtexec`: commands for NVIDIA's own tool, with the shapes that the runtime needs."""

from __future__ import annotations

import io
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tacoglow.cli.inspect import inspect
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import RequestError

Options = list[tuple[str, str]]


def commands_of(bundle: Path) -> dict[str, Options]:
    """Graph -> the options of its command, in order, read as a shell does."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        inspect(bundle, trtexec=True)
    commands = {}
    for line in printed.getvalue().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "trtexec"
        options = [(name, value) for name, _, value in (argument.partition("=") for argument in arguments)]
        commands[Path(dict(options)["--onnx"]).stem] = options
    return commands


def shapes_of(options: Options, name: str) -> list[str]:
    """The values of an option, one per profile."""
    return [value for own, value in options if own == name]


def test_every_graph_has_a_command_with_all_dynamic_inputs(tiny_bundle: Path) -> None:
    manifest = load_manifest(tiny_bundle)
    commands = commands_of(tiny_bundle)
    assert set(commands) == set(manifest.graphs)
    for graph, options in commands.items():
        assert Path(dict(options)["--onnx"]) == tiny_bundle / f"{graph}.onnx"
        dynamic = [tensor.name for tensor in manifest.graphs[graph].inputs if tensor.letters]
        for corner in ("min", "opt", "max"):
            for shapes in shapes_of(options, f"--{corner}Shapes"):
                assert [entry.partition(":")[0] for entry in shapes.split(",")] == dynamic
        assert ("--noTF32", "") in options


def test_shapes_and_profiles(tiny_bundle: Path) -> None:
    manifest = load_manifest(tiny_bundle)
    batch, tokens = manifest.range("B"), manifest.range("T")
    commands = commands_of(tiny_bundle)
    # The decoder step has one profile for all batches, and one for batch 1.
    assert shapes_of(commands["decoder_step"], "--profile") == ["0", "1"]
    all_batches, batch_1 = shapes_of(commands["decoder_step"], "--maxShapes")
    assert f"memory_mask:{batch.max}x{tokens.max}" in all_batches
    assert f"memory_mask:1x{tokens.max}" in batch_1
    # The encoder has one for each padded token count, with shapes that do not vary.
    smallest, largest = (shapes_of(commands["encoder"], f"--{corner}Shapes")[1:] for corner in ("min", "max"))
    buckets = manifest.synthesis.token_buckets(tokens.max)
    assert smallest == largest == [f"token_ids:1x{bucket},token_lengths:1" for bucket in buckets]
    # Others have one profile, which needs no number.
    assert not shapes_of(commands["postnet"], "--profile")


def test_folders_with_spaces_are_quoted(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "my $voice"
    bundle.symlink_to(tiny_bundle)
    assert Path(dict(commands_of(bundle)["encoder"])["--onnx"]) == bundle / "encoder.onnx"


def test_an_option_without_effect_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(RequestError, match=r"^--json: has no effect on the commands of --trtexec"):
        inspect(tiny_bundle, trtexec=True, as_json=True)
    with pytest.raises(RequestError, match=r"^--engines: has no effect"):
        inspect(tiny_bundle, trtexec=True, engines=Path("engines"))
