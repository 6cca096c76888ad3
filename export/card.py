"""The model card that export writes beside the manifest, as README.md: people read it, no runtime does.

It is not part of the bundle. A card that was edited is kept by the next export, once its first comment is gone.
"""

from __future__ import annotations

from pathlib import Path

from ..runtime.bundle.manifest import Manifest
from ..runtime.files import atomic_write

CARD_NAME = "README.md"
MARK = "<!-- Written by export-onnx, which replaces this file as long as it has this line. -->"


def write_card(bundle: Path, manifest: Manifest) -> None:
    """Write the card, unless the folder has a README.md without the mark."""
    path = bundle / CARD_NAME
    if not path.exists() or MARK in path.read_text(encoding="utf-8", errors="replace"):
        atomic_write(path, model_card(manifest).encode())


def model_card(manifest: Manifest) -> str:
    """Describe a voice in Markdown, with the front matter that the Hugging Face Hub reads."""
    voice, audio = manifest.voice, manifest.audio
    language = voice.language.split("-")[0].lower()  # quoted below, because Norwegian's "no" is false in YAML
    tags = ["tacoglow", "onnx", "tacotron2", manifest.vocoder.kind]
    front = [
        "---",
        *([f'language: "{language}"'] if language.isalpha() else []),
        "library_name: tacoglow",
        "pipeline_tag: text-to-speech",
        f"tags: [{', '.join(tags)}]",
        "---",
    ]
    provenance = {key: value for key, value in voice.provenance.items() if key not in ("licence", "license")}
    licence = voice.provenance.get("licence") or voice.provenance.get("license") or "not stated; ask who trained it"
    rows = {
        "language": voice.language or "not stated",
        "models": f"Tacotron 2 and {manifest.vocoder.title}, {manifest.precision}",
        "audio": f"{audio.sampling_rate:,} Hz, {audio.n_mel_channels} mel bands",
        "text": f"{len(manifest.text.symbols)} symbols, {', '.join(manifest.text.cleaners)}",
        "checked": "every graph against PyTorch; the manifest has the errors",
        "licence": licence,
        **provenance,
    }
    table = [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()]
    use = ["```sh", "pip install 'tacoglow[cpu]'", 'trt-infer . "Hello world." -o hello.wav', "```"]
    about = f"A text-to-speech voice for tacoglow, written by {manifest.generator}. In this folder:"
    body = [f"# {_cell(voice.name)}", "", about, "", *use, "", "| | |", "|---|---|", *table]
    return "\n".join([*front, "", MARK, "", *body]) + "\n"


def _cell(text: str) -> str:
    """Return the text as it can stand in a cell of a table: one line, without markup."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line.translate({ord(character): f"\\{character}" for character in "\\|<>[]*_`"})
