"""Checkpoints that are made to take for ever, or all memory: each ends soon, in one line, with little memory."""

from __future__ import annotations

import io
import json
import pickle
import resource
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tacoglow.cli.convert import convert
from tacoglow.models import (
    CheckpointError,
    archives,
    load_hifigan,
    load_tacotron2,
    load_waveglow,
    safetensors_format,
    unpickler,
)
from tacoglow.models.errors import shown
from tacoglow.models.pickles import load_pickle
from tacoglow.tests.robustness.pickle_strategies import integer, mapping, tensor, text

Content = Callable[..., dict[str, Any]]
Save = Callable[[Any], Path]

HOSTILE = Path(__file__).parents[1] / "robustness" / "hostile_pickles"
START = b"\x80\x04"
LIST_AND_SIZE = START + b"]\x94(" + b"N" * 10_000 + b"e0ctorch\nSize\n\x94"  # memo 0: a list, memo 1: torch.Size
# Each would take minutes or gigabytes, or end the process, if nothing were limited.
LARGE = {
    "empty sets": START + b"(" + b"\x8f" * 1_500_000 + b"l.",
    "nested tuples in a set": START + b"\x8f()" + b"\x85" * 400_000 + b"\x90.",
    "nested lists": START + b"]" * 400_000 + b"a" * 399_999 + b".",
    "copies of a list": LIST_AND_SIZE + b"h\x01h\x00\x85R0" * 100_000 + b"N.",
    "a tuple of arguments": START
    + b"("
    + b"N" * 100_000
    + b"t\x94cbuiltins\nset\n\x94"
    + b"h\1h\0R0" * 100_000
    + b"N.",
    "keys of one hash": START + b"}(" + b"".join(integer(i * (2**61 - 1)) + b"N" for i in range(100_000)) + b"u.",
    "memo entries of one hash": START + b"N" + b"".join(b"p%d\n" % (i * (2**61 - 1)) for i in range(100_000)) + b".",
    "long integers as keys": START + integer(1 << 8_000_000) + b"\x94}" + b"h\0Ns" * 100_000 + b".",
    "classes": START + b"(" + b"".join(b"ca\nb%d\n" % i for i in range(300_000)) + b"l.",
    "a state that is shared": START
    + b"}\x94("
    + b"".join(text(str(i)) + b"N" for i in range(50_000))
    + b"ucargparse\nNamespace\n)\x81\x94"
    + b"h\1h\0b0" * 50_000
    + b".",
}
TRY_EACH = """
import io, resource, sys, time
from pathlib import Path
from tacoglow.models.families import recognize
from tacoglow.models.pickles import load_pickle
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    start, outcome = time.process_time(), "read"
    try:
        recognize(load_pickle(io.BytesIO(path.read_bytes())), dict)
    except Exception as error:
        outcome = type(error).__name__
    print(path.stem, round(time.process_time() - start, 2), outcome, sep=":", flush=True)
print("memory", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, "", sep=":")
"""


def write_zip(path: Path, data: bytes, storages: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
        for key, content in storages.items():
            archive.writestr(f"a/data/{key}", content)
    return path


def state_dict(entries: dict[str, bytes]) -> bytes:
    return (
        START
        + mapping([(text("state_dict"), mapping([(text(name), value) for name, value in entries.items()]))])
        + b"."
    )


@pytest.fixture
def soon() -> Iterator[None]:
    """Fails the test if it takes over 5 s of processor time or 1 GB more memory than was ever in use."""
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 1 << 20  # KiB


@pytest.mark.full
def test_hostile_pickles_end_soon(tmp_path: Path) -> None:
    """In a process of their own, because a failure could hang or end it."""
    for name, data in LARGE.items():
        (tmp_path / f"{name}.pkl").write_bytes(data)
    paths = [*sorted(HOSTILE.glob("*.pkl")), *sorted(tmp_path.glob("*.pkl"))]
    assert len(paths) > len(LARGE), "the folder of hostile pickles is empty"
    done = subprocess.run(
        [sys.executable, "-c", TRY_EACH, *map(str, paths)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, memory = [line.split(":") for line in done.stdout.splitlines()]
    assert [name for name, _, _ in lines] == [path.stem for path in paths]
    assert not [line for line in lines if float(line[1]) > 5], lines
    outcomes = {name: outcome for name, _, outcome in lines}
    assert {outcomes[name] for name in LARGE if name != "nested lists"} <= {"TooLargeError", "ValueError"}, outcomes
    assert outcomes["pairs_of_pairs_in_a_set"] == outcomes["pairs_of_pairs_as_a_key"] == "TooLargeError"
    assert int(memory[1]) < 1 << 30


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("name", ["copies of a list", "keys of one hash", "nested lists", "classes"])
def test_commands_end_soon_in_one_line(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "model.pt", LARGE[name], {})
    with pytest.raises(CheckpointError) as raised:
        convert(tmp_path / "converted", path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "converted").exists()


def test_nothing_of_torch_is_imported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch imports some of its modules when they are first looked up."""

    def fail(name: str) -> None:
        raise AssertionError(f"looked up {name}")

    monkeypatch.setattr(torch, "__getattr__", fail)
    load_pickle(io.BytesIO((HOSTILE / "attributes_of_torch.pkl").read_bytes()))


def test_published_sizes_are_far_below_the_limits(tmp_path: Path) -> None:
    """A state dict with an optimizer's state, of as many tensors as a published WaveGlow has: 1,216."""
    weights = {f"WN.{i}.in_layers.{i}.weight_v": torch.zeros(1) for i in range(1216)}
    optimizer = {i: {"step": i, "exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1)} for i in range(1216)}
    torch.save({"state_dict": weights, "optimizer": {"state": optimizer}}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        data = archive.read("model/data.pkl")
    load_pickle(io.BytesIO(data), max_reads=unpickler.MAX_READS // 2)
    assert len(data) < unpickler.MAX_BYTES / 10


@pytest.mark.usefixtures("soon")
class TestArchives:
    def test_many_tensors_over_one_storage(self, tmp_path: Path) -> None:
        numel = 1 << 20
        entries = {f"convinv.{i}.conv.weight": tensor("0", numel, 0, [numel], [1]) for i in range(2000)}
        path = write_zip(tmp_path / "bomb.pt", state_dict(entries), {"0": bytes(4 * numel)})
        with pytest.raises(CheckpointError, match=r"would take 8,388,608,000 bytes, over twice the file's .* share"):
            load_waveglow(path)

    def test_a_shared_storage_is_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        entries = {f"convinv.{i}.conv.weight": tensor("0", 1 << 20, i, [1], [1]) for i in range(1000)}
        path = write_zip(tmp_path / "shared.pt", state_dict(entries), {"0": bytes(4 << 20)})
        names, read = [], archives.ZipArchive._read

        def counted(archive: archives.ZipArchive, name: str) -> bytearray:
            names.append(name)
            return read(archive, name)

        monkeypatch.setattr(archives.ZipArchive, "_read", counted)
        with pytest.raises(CheckpointError):
            load_waveglow(path)
        assert names == ["data.pkl", "data/0"]

    def test_members_that_overlap(self, tmp_path: Path) -> None:
        """The table of contents gives every storage the same place in the file."""
        keys = [str(key) for key in range(50)]
        entries = {f"convinv.{key}.conv.weight": tensor(key, 1 << 18, 0, [1], [1]) for key in keys}
        path = write_zip(tmp_path / "overlap.pt", state_dict(entries), {"00": bytes(1 << 20)})
        with zipfile.ZipFile(path, "a") as archive:
            stored = archive.getinfo("a/data/00")
            for key in keys:
                twin = zipfile.ZipInfo(f"a/data/{key}")
                twin.header_offset, twin.file_size = stored.header_offset, stored.file_size
                twin.compress_size, twin.CRC = stored.compress_size, stored.CRC
                archive.filelist.append(twin)
                archive.NameToInfo[twin.filename] = twin
            archive._didModify = True  # type: ignore[attr-defined]
        with pytest.raises(CheckpointError, match="truncated, or not a PyTorch checkpoint"):
            load_waveglow(path)

    def test_table_of_contents_of_a_million_members(self, tmp_path: Path) -> None:
        entry = b"PK\x01\x02" + bytes(24) + (1).to_bytes(2, "little") + bytes(16) + b"x"
        table = entry * 1_000_000
        end = b"PK\x05\x06" + bytes(8) + len(table).to_bytes(4, "little") + (4).to_bytes(4, "little") + bytes(2)
        (tmp_path / "table.pt").write_bytes(b"PK\x03\x04" + table + end)
        with pytest.raises(CheckpointError, match="truncated, or not a PyTorch checkpoint"):
            load_waveglow(tmp_path / "table.pt")

    def test_all_zero_file(self, tmp_path: Path) -> None:
        with (tmp_path / "zero.pt").open("wb") as file:
            file.truncate(1 << 30)
        with pytest.raises(CheckpointError, match="truncated, or not a PyTorch checkpoint"):
            load_waveglow(tmp_path / "zero.pt")

    @pytest.mark.parametrize(
        ("magic", "name"),
        [(b"\x1f\x8b", "gzip"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")],
    )
    def test_compressed_file_is_named(self, tmp_path: Path, magic: bytes, name: str) -> None:
        (tmp_path / "model.nemo").write_bytes(magic + bytes(1000))
        with pytest.raises(CheckpointError, match=f"compressed with {name}; unpack it first"):
            load_waveglow(tmp_path / "model.nemo")

    def test_tar_files_within_each_other(self, tmp_path: Path) -> None:
        data = b"no checkpoint"
        for _ in range(20):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                member = tarfile.TarInfo("model_weights.ckpt")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            data = buffer.getvalue()
        (tmp_path / "model.nemo").write_bytes(data)
        with pytest.raises(CheckpointError, match="truncated, or not a PyTorch checkpoint"):
            load_waveglow(tmp_path / "model.nemo")

    def test_tar_member_that_claims_more_than_the_file_has(self, tmp_path: Path) -> None:
        member = tarfile.TarInfo("model_weights.ckpt")
        member.size = 1 << 40
        (tmp_path / "model.nemo").write_bytes(member.tobuf() + bytes(1024))
        with pytest.raises(CheckpointError, match="truncated, or not a PyTorch checkpoint"):
            load_waveglow(tmp_path / "model.nemo")


@pytest.mark.usefixtures("soon")
class TestModels:
    def test_tensor_of_5000_dimensions(self, tmp_path: Path) -> None:
        entries = {"convinv.0.conv.weight": tensor("0", 4, 0, [1] * 5000, [1] * 5000)}
        path = write_zip(tmp_path / "model.pt", state_dict(entries), {"0": bytes(16)})
        with pytest.raises(CheckpointError, match=r"a tensor has 5,000 dimensions"):
            load_waveglow(path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("max_decoder_steps", 10**400),
            ("gate_threshold", 10**400),
            ("n_symbols", 10**4000),
            ("hop_length", 10**400),
            ("sampling_rate", -(10**400)),
            ("max_decoder_steps", 10**12),
            ("gate_threshold", float("nan")),
        ],
    )
    def test_number_beyond_all_bounds(self, content: Content, save: Save, name: str, value: float) -> None:
        with pytest.raises(CheckpointError, match=f"{name}.*got") as raised:
            load_tacotron2(save(content("tacotron2", **{name: value})))
        assert len(str(raised.value)) < 400

    def test_setting_that_contains_itself(self, content: Content, save: Save) -> None:
        endless: list[Any] = []
        endless += [endless] * 60
        with pytest.raises(CheckpointError, match="its config has over 10,000 entries or 50 levels"):
            load_tacotron2(save(content("tacotron2", prenet_dim=endless)))

    @pytest.mark.parametrize("place", ["config", "train_setup"])
    def test_setting_of_a_generator_that_doubles_forty_times(self, tmp_path: Path, place: str) -> None:
        """Its rates are converted to tuples of tuples, its audio settings are compared."""
        doubled = b"]\x94" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e\x94" for i in range(40))
        weights = mapping([(text("conv_pre.weight"), tensor("0", 4, 0, [4], [1]))])
        top = [(text("generator"), weights), (text(place), mapping([(text("upsample_rates"), doubled)]))]
        path = write_zip(tmp_path / "g.pt", START + mapping(top) + b".", {"0": bytes(16)})
        with pytest.raises(CheckpointError):
            load_hifigan(path)

    def test_yaml_that_multiplies(self, tmp_path: Path) -> None:
        pytest.importorskip("yaml")
        lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12)]
        (tmp_path / "hyperparams.yaml").write_text("\n".join(lines))
        entries = {"conv_pre.conv.weight": tensor("0", 4, 0, [4], [1])}
        path = write_zip(tmp_path / "g.pt", state_dict(entries), {"0": bytes(16)})
        with pytest.raises(CheckpointError):
            load_hifigan(path)

    def test_sizes_of_millions_of_modules(self, tmp_path: Path) -> None:
        """1,500 flows of 20 layers, which would be 100,000 modules."""
        names = [f"convinv.{i}.conv.weight" for i in range(1500)] + [f"WN.0.in_layers.{i}.weight" for i in range(20)]
        entries = {name: tensor("0", 1 << 16, 0, [4, 4, 1], [4, 1, 1]) for name in names}
        entries["WN.0.start.weight"] = tensor("0", 1 << 16, 0, [4, 2, 1], [2, 1, 1])
        entries["WN.0.in_layers.0.weight"] = tensor("0", 1 << 16, 0, [4, 4, 3], [12, 3, 1])
        entries["upsample.weight"] = tensor("0", 1 << 16, 0, [4, 4, 16], [64, 16, 1])
        path = write_zip(tmp_path / "model.pt", state_dict(entries), {"0": bytes(1 << 18)})
        with pytest.raises(CheckpointError, match="describe a model of far more tensors than the file has"):
            load_waveglow(path)

    def test_long_names(self, tmp_path: Path) -> None:
        entries = {"module." * 1_000_000: tensor("0", 4, 0, [4], [1])}
        with pytest.raises(CheckpointError, match="the name of a tensor has 7,000,000 characters"):
            load_waveglow(write_zip(tmp_path / "model.pt", state_dict(entries), {"0": bytes(16)}))

    def test_modules_that_share_many_parameters(self, tmp_path: Path) -> None:
        """One dict of 50,000 tensors, which 5,000 modules have as their parameters."""
        shared = b"}\x94(" + b"".join(text(str(i)) + b"K\0" for i in range(50_000)) + b"u0"
        module = b"cglow\nWaveGlow\n)\x81}(" + text("_parameters") + b"h\0" + text("_modules") + b"}ub"
        children = mapping([(text(str(i)), module) for i in range(5_000)])
        top = b"cglow\nWaveGlow\n)\x81" + mapping([(text("_modules"), children)]) + b"b"
        data = START + shared + mapping([(text("model"), top)]) + b"."
        with pytest.raises(CheckpointError, match="a module has over 10,000 entries"):
            load_waveglow(write_zip(tmp_path / "model.pt", data, {}))

    def test_integers_as_weights(self, content: Content, save: Save) -> None:
        saved = content("tacotron2")
        saved["state_dict"]["embedding.weight"] = saved["state_dict"]["embedding.weight"].to(torch.int8)
        with pytest.raises(CheckpointError, match=r"embedding\.weight: expected one of float32, .*, got int8"):
            load_tacotron2(save(saved))


@pytest.mark.usefixtures("soon")
class TestDescriptions:
    """The JSON next to a safetensors file."""

    @pytest.fixture
    def path(self, content: Content, save: Save, tmp_path: Path) -> Path:
        convert(tmp_path, save(content("tacotron2")))
        return tmp_path / "tacotron2.safetensors"

    def rewrite(self, path: Path, **changes: Any) -> None:
        described = {**json.loads(path.with_suffix(".json").read_bytes()), **changes}
        described["sha256"] = safetensors_format._digest(path.read_bytes(), described)
        path.with_suffix(".json").write_text(json.dumps(described))

    def test_key_twice(self, path: Path) -> None:
        text = path.with_suffix(".json").read_text()
        path.with_suffix(".json").write_text(text.replace('"model"', '"model": "waveglow", "model"', 1))
        with pytest.raises(CheckpointError, match="a key occurs twice"):
            load_tacotron2(path)

    def test_file_of_20_mib(self, path: Path) -> None:
        path.with_suffix(".json").write_bytes(b"[" + b" " * (20 << 20) + b"]")
        with pytest.raises(CheckpointError, match=r"tacotron2\.json is larger than 16 MiB"):
            load_tacotron2(path)

    def test_deep_nesting(self, path: Path) -> None:
        path.with_suffix(".json").write_bytes(b"[" * 100_000)
        with pytest.raises(CheckpointError, match="is not JSON"):
            load_tacotron2(path)

    def test_integer_of_400_digits(self, path: Path) -> None:
        config = json.loads(path.with_suffix(".json").read_bytes())["config"]
        self.rewrite(path, config={**config, "max_decoder_steps": 10**400})
        with pytest.raises(CheckpointError, match=r"max_decoder_steps.*got an integer of 1,329 bits"):
            load_tacotron2(path)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"dtype": "F32", "shape": [1] * 5000, "data_offsets": [0, 4]}, "has unusable sizes, types or nesting"),
            ({"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}, "not a safetensors file"),
            ({"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}, "TypeError in a tensor's shape"),
            ({"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}, "expected one of float32"),
        ],
    )
    def test_tensor_of_unusable_shape(self, path: Path, entry: dict[str, Any], message: str) -> None:
        header = json.dumps({"embedding.weight": entry}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(entry["data_offsets"][1]))
        self.rewrite(path)
        with pytest.raises(CheckpointError, match=message):
            load_tacotron2(path)

    def test_header_of_a_gibibyte(self, path: Path) -> None:
        with path.open("wb") as file:
            file.write((1 << 30).to_bytes(8, "little"))
            file.truncate(1 << 31)
        with pytest.raises(CheckpointError, match="header too large"):
            load_tacotron2(path)

    def test_adjacent_config_that_is_too_large_or_nested(self, content: Content, save: Save) -> None:
        path = save(content("tacotron2"))
        for data in (b"[" * 100_000, b" " * (20 << 20)):
            (path.parent / "config.json").write_bytes(data)
            load_tacotron2(path)


def test_values_are_shown_in_few_characters() -> None:
    assert shown(10**5000) == "an integer of 16,610 bits"
    assert len(shown("x" * 10_000_000)) < 100
    assert (shown(None), shown(True), shown(0.5), shown("a"), shown([[]])) == ("None", "True", "0.5", "'a'", "a list")


def test_protocols_and_frames_are_read() -> None:
    """The unpickler in Python reads what the one in C does; before protocol 5, bytes and sets are calls."""
    value: dict[str, Any] = {"a": [1, 2.5, None, True, "é" * 70_000, (1, (2,)), 1 << 50, -(1 << 300)]}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if protocol == 5:
            value |= {"b": [b"x" * 300, {3}, frozenset({(4, 5)}), bytearray(b"y")]}
        assert load_pickle(io.BytesIO(pickle.dumps(value, protocol))) == value
