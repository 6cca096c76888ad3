"""Compares the tensors that the runtime passes to each graph and reads from it with those in the manifest.

The C++ runtime makes the same comparison, in contract.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .manifest import DType, Manifest, TensorSpec

ANY = None  # a width that the manifest does not determine
Expected = tuple[str, DType, tuple[int | str | None, ...]]  # name, dtype, shape


def check_contract(manifest: Manifest) -> None:
    """Raise msgspec.ValidationError, which names the graph, unless its tensors are those that the runtime uses."""
    bands = manifest.audio.n_mel_channels
    encoded: list[Expected] = [
        ("memory", "float32", ("B", "T", ANY)),
        ("processed_memory", "float32", ("B", "T", ANY)),
        ("memory_mask", "bool", ("B", "T")),
    ]
    ids: list[Expected] = [("token_ids", "int32", ("B", "T")), ("token_lengths", "int32", ("B",))]
    mel: Expected = ("mel", "float32", ("B", bands, "F"))
    _check(manifest, "encoder", ids, encoded)
    _check(manifest, "decoder_step", *_decoder_step(manifest, encoded))
    _check(
        manifest,
        "postnet",
        [mel, ("mel_lengths", "int32", ("B",))],
        [("mel_postnet", "float32", ("B", bands, "F"))],
    )
    hop, group_size = manifest.audio.hop_length, manifest.vocoder.group_size
    z: list[Expected] = (
        [] if group_size is None else [("z", "float32", ("B", group_size, _times("F", hop // group_size)))]
    )
    _check(manifest, manifest.vocoder.kind, [mel, *z], [("audio", "float32", ("B", _times("F", hop)))])
    _check(
        manifest,
        "denoiser",
        [("audio", "float32", ("B", "S")), ("strength", "float32", (1,))],
        [("audio_denoised", "float32", ("B", "S"))],
    )


def _decoder_step(manifest: Manifest, encoded: list[Expected]) -> tuple[list[Expected], list[Expected]]:
    decoder, tensors = manifest.decoder, manifest.graphs["decoder_step"].tensors
    dropout: Expected = ("prenet_dropout", "float32", ("B", decoder.prenet_layers, decoder.prenet_dim))
    inputs, outputs = [*encoded, dropout], [("gate_logit", "float32", ("B", 1))]  # type: list[Expected], list[Expected]
    for source, target in decoder.states.items():
        shape: tuple[int | str | None, ...] = ("B", "T") if tensors[source].shape == ("B", "T") else ("B", ANY)
        inputs.append((source, "float32", shape))
        outputs.append((target, "float32", shape))
    if "mel_frame" not in decoder.states.values():
        raise msgspec.ValidationError("mel_frame is not among the states - at `$.decoder.states`")
    return inputs, outputs


def _check(manifest: Manifest, graph: str, inputs: Sequence[Expected], outputs: Sequence[Expected]) -> None:
    spec = manifest.graphs[graph]
    for side, expected, listed in (("inputs", inputs, spec.inputs), ("outputs", outputs, spec.outputs)):
        missing = [name for name, dtype, shape in expected if not any(_fits(name, dtype, shape, t) for t in listed)]
        place = f"`$.graphs.{graph}.{side}`"
        if missing:
            raise msgspec.ValidationError(
                f"tensor {missing[0]!r} is missing, or has a different dtype or shape than this runtime expects "
                f"- at {place}"
            )
        if len(listed) != len(expected):
            raise msgspec.ValidationError(f"expected {len(expected)} tensors, got {len(listed)} - at {place}")


def _fits(name: str, dtype: DType, shape: tuple[int | str | None, ...], tensor: TensorSpec) -> bool:
    return (name, dtype, len(shape)) == (tensor.name, tensor.dtype, len(tensor.shape)) and all(
        isinstance(entry, int) if expected is ANY else _split(expected) == _split(entry)
        for expected, entry in zip(shape, tensor.shape, strict=True)
    )


def _times(letter: str, factor: int) -> str:
    return f"{letter}*{factor}"


def _split(entry: int | str) -> tuple[str, int]:
    """Letter ("" for a number) and factor of a shape entry; "F" equals "F*1"."""
    if isinstance(entry, int):
        return "", entry
    letter, _, factor = entry.partition("*")
    return letter, int(factor or 1)
