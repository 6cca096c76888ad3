"""Target: whole checkpoint files, in every file format, around drawn pickles and descriptions."""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import struct
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tacoglow.models import CheckpointError, load_hifigan, load_tacotron2, load_waveglow
from tacoglow.models.archives import LEGACY_MAGIC, NEMO_WEIGHTS
from tacoglow.tests.conftest import TACOTRON2, WAVEGLOW
from tacoglow.tests.robustness.pickle_strategies import NUMBERS, PICKLES, few_tensors, models

STORAGE_BYTES = 4096  # of each of three storages; the first of a whole model is as large as its tensors


def _shapes() -> dict[str, dict[str, list[int]]]:
    import torch

    from tacoglow.models import Tacotron2, Tacotron2Config, WaveGlow, WaveGlowConfig
    from tacoglow.models.config import config_from_dict

    with torch.device("meta"):
        both = {
            "tacotron2": Tacotron2(config_from_dict(Tacotron2Config, TACOTRON2, "")),
            "waveglow": WaveGlow(
                config_from_dict(WaveGlowConfig, {"upsample_stride": 64, "upsample_kernel": 256, **WAVEGLOW}, "")
            ),
        }
    return {name: {key: list(value.shape) for key, value in model.state_dict().items()} for name, model in both.items()}


def _numel(shapes: dict[str, list[int]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


SHAPES = _shapes()
TACOTRON2_NUMEL, WAVEGLOW_NUMEL = _numel(SHAPES["tacotron2"]), _numel(SHAPES["waveglow"])


def zipped(data: bytes, first: int = STORAGE_BYTES // 4) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", data)
        for key, numel in (("0", first), ("1", STORAGE_BYTES // 4), ("2", STORAGE_BYTES // 4)):
            archive.writestr(f"a/data/{key}", b"\0\0\x80\x3f" * numel)
    return buffer.getvalue()


def legacy(data: bytes) -> bytes:
    head = [pickle.dumps(value, 2) for value in (LEGACY_MAGIC, 1001, {"little_endian": True})]
    storages = b"".join(struct.pack("<q", STORAGE_BYTES // 4) + bytes(STORAGE_BYTES) for _ in "012")
    return b"".join([*head, data, pickle.dumps(["0", "1", "2"], 2), storages])


def in_tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(NEMO_WEIGHTS)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _damage(drawn: tuple[bytes, list[tuple[int, bytes]]]) -> bytes:
    data = bytearray(drawn[0])
    for place, new in drawn[1]:
        data[place % len(data) : place % len(data) + len(new)] = new
    return bytes(data)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), st.text(max_size=5)),
    lambda values: st.one_of(st.lists(values, max_size=3), st.dictionaries(st.text(max_size=5), values, max_size=3)),
    max_leaves=6,
)
ENTRIES = st.sampled_from(
    ["n_flows", "WN_config", "hop_length", "max_decoder_steps", "dtype", "shape", "data_offsets", "x"]
)


@st.composite
def safetensors(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a safetensors file and its description, with a correct digest."""
    shape = draw(st.one_of(st.lists(NUMBERS.filter(lambda n: 0 <= n < 2**64), max_size=3), st.just([1] * 5000)))
    entry = {"dtype": draw(st.sampled_from(["F32", "F16", "I64", "U8", "F8_E4M3", "X"])), "shape": shape}
    header: dict[str, Any] = {"embedding.weight": {**entry, "data_offsets": [0, draw(st.integers(0, 64))]}}
    header |= draw(st.dictionaries(st.text(max_size=5), JSON, max_size=1))
    encoded = json.dumps(header).encode()
    weights = struct.pack("<Q", len(encoded)) + encoded + bytes(draw(st.integers(0, 64)))
    model = draw(st.sampled_from(["tacotron2", "waveglow"]))
    config: dict[str, Any] = dict(TACOTRON2 if model == "tacotron2" else WAVEGLOW)
    config |= draw(st.dictionaries(ENTRIES, JSON, max_size=2))
    described = {"format": "tacoglow model", "format_version": 1, "model": model, "config": config, "family": "x"}
    described |= {"audio": draw(st.one_of(JSON, st.dictionaries(ENTRIES, JSON, max_size=2)))}
    digest = hashlib.sha256(weights + json.dumps(described, sort_keys=True).encode()).hexdigest()
    return weights, json.dumps(described | {"sha256": digest}).encode()


PLACES = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3)
FEW = few_tensors().map(lambda value: zipped(b"\x80\x04" + value + b"."))
SMALL = st.one_of(FEW, PICKLES.map(zipped), PICKLES.map(legacy), PICKLES.map(lambda data: in_tar(zipped(data))))
WHOLE = st.one_of(
    models(SHAPES["tacotron2"], TACOTRON2, TACOTRON2_NUMEL).map(lambda data: zipped(data, TACOTRON2_NUMEL)),
    models(SHAPES["waveglow"], WAVEGLOW, WAVEGLOW_NUMEL).map(lambda data: zipped(data, WAVEGLOW_NUMEL)),
)
CASES = st.one_of(
    *[SMALL.map(lambda data: (data, b""))] * 4,
    st.tuples(SMALL, PLACES).map(_damage).map(lambda data: (data, b"")),
    WHOLE.map(lambda data: (data, b"")),
    safetensors(),
)

_FOLDER = tempfile.TemporaryDirectory(prefix="tacoglow-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def try_one(case: tuple[bytes, bytes]) -> None:
    """Load the file as each model: it loads, or is rejected with CheckpointError in one line."""
    data, description = case
    path = Path(_FOLDER.name) / ("model.safetensors" if description else "model.pt")
    path.write_bytes(data)
    if description:
        path.with_suffix(".json").write_bytes(description)
    load = load_waveglow if b"convinv" in data else load_hifigan if b"conv_pre" in data else load_tacotron2
    with suppress(CheckpointError):
        try:
            load(path)
        except CheckpointError as error:
            message = str(error)
            assert message.startswith(f"{path}: "), message
            assert "\n" not in message
            raise
