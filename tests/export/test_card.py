"""The model card beside a manifest: what it says, and whose it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import yaml

from tacoglow.export.card import CARD_NAME, MARK, model_card, write_card
from tacoglow.runtime.bundle.manifest import Manifest
from tacoglow.runtime.bundle.reading import list_bundle_files, load_manifest


def with_voice(bundle: Path, **changes: object) -> Manifest:
    manifest = load_manifest(bundle)
    return msgspec.structs.replace(manifest, voice=msgspec.structs.replace(manifest.voice, **changes))


def front_matter(card: str) -> dict[str, object]:
    _, front, _ = card.split("---\n", 2)
    return dict(yaml.safe_load(front))


def test_export_writes_a_card(tiny_bundle: Path) -> None:
    card = (tiny_bundle / CARD_NAME).read_text()
    assert front_matter(card) == {
        "language": "en",
        "library_name": "tacoglow",
        "pipeline_tag": "text-to-speech",
        "tags": ["tacoglow", "onnx", "tacotron2", "waveglow"],
    }
    assert "# tiny\n" in card
    assert "| models | Tacotron 2 and WaveGlow, fp32 |" in card
    assert "| audio | 16,000 Hz, 16 mel bands |" in card
    assert "| weights | random, from a fixed seed |" in card
    assert "| licence | not stated; ask who trained it |" in card
    assert CARD_NAME not in list_bundle_files(load_manifest(tiny_bundle))  # the contract is as it was


def test_the_licence_is_the_voice_s(tiny_bundle: Path) -> None:
    card = model_card(with_voice(tiny_bundle, provenance={"licence": "CC BY 4.0"}))
    assert "| licence | CC BY 4.0 |" in card
    assert card.count("licence") == 1


def test_every_language_is_a_text(tiny_bundle: Path) -> None:
    assert front_matter(model_card(with_voice(tiny_bundle, language="no-NO")))["language"] == "no"


def test_an_edited_card_is_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "voice"
    shutil.copytree(tiny_bundle, bundle)
    renamed = with_voice(bundle, name="other")
    write_card(bundle, renamed)
    assert "# other\n" in (bundle / CARD_NAME).read_text()
    (bundle / CARD_NAME).write_text((bundle / CARD_NAME).read_text().replace(MARK, "") + "\nMine.\n")
    write_card(bundle, with_voice(bundle, name="third"))
    assert "Mine." in (bundle / CARD_NAME).read_text()


def test_a_voice_cannot_write_markup(tiny_bundle: Path) -> None:
    hostile = {"a|b": "x | y\n\n# heading <script> [link](http://a) `code`"}
    card = model_card(with_voice(tiny_bundle, name="<b>", language="e\nn: evil", provenance=hostile))
    body = card.split(MARK)[1]
    assert not re.search(r"(?<!\\)[<\[`]", body.replace("tacoglow[cpu]", "").replace("```", ""))
    assert [line for line in body.splitlines() if line.startswith("# ")] == ["# \\<b\\>"]
    assert front_matter(card) == front_matter(model_card(with_voice(tiny_bundle, language="")))
