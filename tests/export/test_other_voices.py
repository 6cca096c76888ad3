"""Voices other than the published one: converted files, symbols of another language, other rates and hops."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tacoglow import Synthesizer
from tacoglow.cli.convert import convert
from tacoglow.export import ExportError, export_onnx
from tacoglow.export.bundle import Limits
from tacoglow.export.voice import VoiceFile, read_symbols, read_voice_file, voice_symbols, with_text_options
from tacoglow.models import (
    CheckpointError,
    Tacotron2,
    Tacotron2Config,
    WaveGlow,
    WaveGlowConfig,
    load_tacotron2,
    load_waveglow,
)
from tacoglow.models.config import WNConfig
from tacoglow.tests.conftest import TACOTRON2, WAVEGLOW, TinyCheckpoints

GERMAN = ("_", " ", *"abcdefghijklmnopqrstuvwxyzäöüß", *".,?!")


def with_symbols(checkpoint: Path, count: int, folder: Path) -> Path:
    """Write the tiny Tacotron 2 with a different number of symbols."""
    content: dict[str, Any] = torch.load(checkpoint)
    content["config"] = {**content["config"], "n_symbols": count}
    rows = content["state_dict"]["embedding.weight"]
    content["state_dict"]["embedding.weight"] = rows[torch.arange(count) % len(rows)]
    torch.save(content, folder / "tacotron2.pt")
    return folder / "tacotron2.pt"


class TestConvert:
    def test_converted_models_are_the_same(self, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
        convert(tmp_path / "converted", tiny_checkpoints.tacotron2, tiny_checkpoints.waveglow)
        pairs = [
            (
                load_tacotron2(tiny_checkpoints.tacotron2),
                load_tacotron2(tmp_path / "converted" / "tacotron2.safetensors"),
            ),
            (load_waveglow(tiny_checkpoints.waveglow), load_waveglow(tmp_path / "converted" / "waveglow.safetensors")),
        ]
        for expected, converted in pairs:
            torch.testing.assert_close(converted.state_dict(), expected.state_dict(), rtol=0.0, atol=0.0)
            assert (converted.config, converted.audio, converted.family) == (
                expected.config,
                expected.audio,
                expected.family,
            )

    def test_one_model_alone_is_converted(self, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
        convert(tmp_path, waveglow=tiny_checkpoints.waveglow)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["waveglow.json", "waveglow.safetensors"]
        described = json.loads((tmp_path / "waveglow.json").read_text())
        assert described["config"]["upsample_stride"] == 256
        assert described["family"] == "NVIDIA DeepLearningExamples"

    def test_nothing_is_written_if_one_model_is_invalid(
        self, tiny_checkpoints: TinyCheckpoints, tmp_path: Path
    ) -> None:
        with pytest.raises(CheckpointError, match="expected a tacotron2 checkpoint, got waveglow"):
            convert(tmp_path / "converted", tiny_checkpoints.waveglow, tiny_checkpoints.waveglow)
        assert not list(tmp_path.iterdir())

    def test_no_model_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ExportError, match=r"at least one of --tacotron2 T\.pt, --waveglow W\.pt and"):
            convert(tmp_path)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda path: path.with_suffix(".json").unlink(), r"tacotron2\.json is missing from the same folder"),
            (lambda path: path.with_suffix(".json").write_text("{"), r"tacotron2\.json next to it is not JSON"),
            (lambda path: path.with_suffix(".json").write_text("[" * 9999), r"tacotron2\.json next to it is not JSON"),
            (lambda path: path.with_suffix(".json").write_text("[]"), r"is not a 'tacoglow model' file of version 1"),
            (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"does not match tacotron2\.json: one of them"),
            (lambda path: path.write_bytes(b""), r"does not match tacotron2\.json: one of them"),
        ],
    )
    def test_mismatched_or_damaged_files_are_rejected(
        self, tiny_checkpoints: TinyCheckpoints, tmp_path: Path, damage: Callable[[Path], object], message: str
    ) -> None:
        convert(tmp_path, tiny_checkpoints.tacotron2)
        damage(tmp_path / "tacotron2.safetensors")
        with pytest.raises(CheckpointError, match=message) as raised:
            load_tacotron2(tmp_path / "tacotron2.safetensors")
        assert "\n" not in str(raised.value)


class TestSymbols:
    @pytest.mark.parametrize("form", ["json", "lines", "windows"])
    def test_symbols_are_read_from_json_and_text(
        self, tiny_checkpoints: TinyCheckpoints, tmp_path: Path, form: str
    ) -> None:
        path = tmp_path / "symbols"
        forms = {"json": json.dumps(GERMAN), "lines": "\n".join(GERMAN) + "\n", "windows": "\r\n".join(GERMAN)}
        path.write_bytes(forms[form].encode("utf-8-sig" if form == "windows" else "utf-8"))
        assert read_symbols(path) == GERMAN

    def test_voice_of_another_language_synthesizes(self, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
        (tmp_path / "symbols.json").write_text(json.dumps(GERMAN))
        voice = with_text_options(
            read_voice_file(tiny_checkpoints.voice), tmp_path / "symbols.json", ["basic_cleaners"]
        )
        tacotron2 = load_tacotron2(with_symbols(tiny_checkpoints.tacotron2, len(GERMAN), tmp_path))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no dropped symbols, no symbols that cannot be synthesized
            export_onnx(
                tacotron2,
                load_waveglow(tiny_checkpoints.waveglow),
                tmp_path / "voice",
                "fp32",
                voice,
                Limits(tokens=40),
            )
            tts = Synthesizer.load(tmp_path / "voice")
            assert tts.manifest.text.symbols == GERMAN
        audio = tts.say("Schöne Grüße!", seed=1)
        assert audio.sampling_rate == 16000
        assert [GERMAN[i] for i in audio.utterances[0].token_ids] == list("schöne grüße!")

    def test_symbols_that_the_cleaners_replace_warn(self, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
        tacotron2 = load_tacotron2(with_symbols(tiny_checkpoints.tacotron2, len(GERMAN), tmp_path))
        with pytest.warns(UserWarning, match=r"english_cleaners replace or drop 4 of the voice's symbols \(ä ö ü ß\)"):
            voice_symbols(VoiceFile(symbols=GERMAN), tacotron2)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"a\n\nb\n", "line 2 is empty"),
            (b"", "line 1 is empty"),
            (b"\xff\xfe", "is not UTF-8"),
            (b'["a", 1]', "the list of symbols should be a list of strings"),
            (b"[a, b]", "is not JSON"),
        ],
    )
    def test_invalid_symbol_files_are_rejected(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "symbols").write_bytes(content)
        with pytest.raises(ExportError, match=message):
            read_symbols(tmp_path / "symbols")
        with pytest.raises(ExportError, match="no such symbol file"):
            read_symbols(tmp_path / "none")

    def test_symbol_count_must_match_the_embedding(self, tiny_checkpoints: TinyCheckpoints) -> None:
        with pytest.raises(ExportError, match=r"embedding has 148 rows, the voice file has 36; .* --symbols FILE"):
            voice_symbols(VoiceFile(symbols=GERMAN), load_tacotron2(tiny_checkpoints.tacotron2))


@pytest.mark.parametrize(
    ("rate", "hop", "kernel", "window"),
    [
        (22050, 64, 256, 256),
        pytest.param(16000, 200, 800, 800, marks=pytest.mark.full),
        pytest.param(44100, 512, 2048, 2048, marks=pytest.mark.full),
    ],
)
def test_other_rates_and_hops_synthesize(
    tiny_checkpoints: TinyCheckpoints, tmp_path: Path, rate: int, hop: int, kernel: int, window: int
) -> None:
    """The hop comes from WaveGlow's weights; the audio has hop samples per frame."""
    torch.manual_seed(rate)
    sizes = {**WAVEGLOW, "WN_config": WNConfig(**WAVEGLOW["WN_config"]), "upsample_kernel": kernel}
    model = WaveGlow(WaveGlowConfig(**sizes, upsample_stride=hop))
    torch.save(model.state_dict(), tmp_path / "waveglow.pt")
    waveglow = load_waveglow(tmp_path / "waveglow.pt")
    assert waveglow.config.upsample_stride == hop
    voice = VoiceFile(audio={"sampling_rate": rate, "filter_length": window, "win_length": window, "hop_length": hop})
    manifest = export_onnx(
        load_tacotron2(tiny_checkpoints.tacotron2), waveglow, tmp_path / "voice", "fp32", voice, Limits(tokens=40)
    )
    assert (manifest.audio.sampling_rate, manifest.audio.hop_length) == (rate, hop)
    audio = Synthesizer.load(tmp_path / "voice").say("Hello.", seed=1)
    assert audio.sampling_rate == rate
    assert len(audio.samples) % hop == 0
    assert 0 < len(audio.samples) <= TACOTRON2["max_decoder_steps"] * hop


def test_mismatched_hop_is_rejected(tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
    torch.save(WaveGlow(load_waveglow(tiny_checkpoints.waveglow).config).state_dict(), tmp_path / "waveglow.pt")
    tacotron2 = Tacotron2(Tacotron2Config(**TACOTRON2))
    with pytest.raises(ExportError, match="hop_length does not match: waveglow says 256, the voice file says 300"):
        export_onnx(
            tacotron2,
            load_waveglow(tmp_path / "waveglow.pt"),
            tmp_path / "voice",
            voice=VoiceFile(audio={"hop_length": 300}),
        )
