"""`tacoglow text`: shows what a voice makes of a text, without speaking it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..runtime.errors import escape_control
from .lists.encoding import as_utf8
from .lists.lines import STANDARD_INPUT, read_text
from .shared.options import LexiconFile, NormalizerOption, SentenceSilence, Ssml, read_lexicon

if TYPE_CHECKING:
    from ..runtime.pieces import Piece
    from ..text import FrontEnd

TOKENS_MAX = 1_000_000  # tokens per piece without a bundle: in effect no limit


def text(
    text: Annotated[str, typer.Argument(help="Text to look at; - is standard input.")],
    bundle: Annotated[
        Optional[Path],
        typer.Option(help="Folder written by export-onnx.", show_default="NVIDIA's symbols, english_cleaners"),
    ] = None,
    cleaners: Annotated[
        Optional[list[str]],
        typer.Option(help="Cleaner to try instead of the voice's; repeatable.", show_default="the voice's"),
    ] = None,
    normalizer: NormalizerOption = None,
    lexicon: LexiconFile = None,
    ssml: Ssml = False,
    sentence_silence: SentenceSilence = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON to standard output.")] = False,
) -> None:
    """Show what is spoken of TEXT: the pieces, their characters and token ids, pauses, and what is dropped."""
    from ..runtime.bundle.reading import load_manifest
    from ..runtime.pieces import split_into_pieces
    from ..text import FrontEnd, Lexicon, describe_dropped, find_normalizer

    content = read_text() if text == str(STANDARD_INPUT) else as_utf8(text)
    if normalizer is not None:
        content = find_normalizer(normalizer)(content)
    manifest = None if bundle is None else load_manifest(bundle)
    front_end = FrontEnd() if manifest is None else manifest.text.front_end()
    if cleaners:
        front_end = replace(front_end, cleaners=tuple(cleaners))
    words = read_lexicon(lexicon)
    limit = TOKENS_MAX if manifest is None else manifest.range("T").max
    split = split_into_pieces(
        front_end, content, limit, sentence_silence, None if words is None else Lexicon(words), ssml
    )
    if as_json:
        entries = [_piece_entry(front_end, piece) for piece in split.pieces]
        print(
            json.dumps(
                {"pieces": entries, "dropped": split.dropped, "remarks": split.remarks}, indent=1, ensure_ascii=False
            )
        )
        return
    _print_pieces(front_end, split.pieces)
    for remark in (describe_dropped(split.dropped), *split.remarks):
        if remark:
            print(f"warning: {escape_control(remark)}")


def _piece_entry(front_end: FrontEnd, piece: Piece) -> dict[str, Any]:
    return {
        "text": piece.text,
        "spoken": _spoken(front_end, piece),
        "ids": list(piece.ids),
        "pause_before": piece.pause_before,
        "pause_after": piece.pause,
    }


def _spoken(front_end: FrontEnd, piece: Piece) -> str:
    from ..text import sequence_to_text

    return sequence_to_text(piece.ids, front_end.symbols)


def _print_pieces(front_end: FrontEnd, pieces: list[Piece]) -> None:
    for number, piece in enumerate(pieces, 1):
        title = f"piece {number} of {len(pieces)}: " if len(pieces) > 1 else ""
        if piece.pause_before:
            print(f"{piece.pause_before:g} s of silence")
        print(f"{title}{len(piece.ids)} tokens")
        print(f"  spoken  {escape_control(_spoken(front_end, piece))}")
        print(f"  ids     {' '.join(map(str, piece.ids))}")
        if piece.pause:
            print(f"{piece.pause:g} s of silence")
