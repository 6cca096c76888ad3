"""Command line options that more than one command takes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer


class Wav(str, Enum):
    int16 = "int16"
    float32 = "float32"


Sigma = Annotated[
    Optional[float], typer.Option(help="Standard deviation of WaveGlow's noise.", show_default="the voice's")
]
Denoise = Annotated[float, typer.Option(help="How strongly WaveGlow's hum is subtracted, e.g. 0.01.")]
GateThreshold = Annotated[
    Optional[float], typer.Option(help="Probability at which an utterance ends.", show_default="the voice's")
]
MaxFrames = Annotated[Optional[int], typer.Option(help="Frame limit of an utterance.", show_default="the voice's")]
Retries = Annotated[
    int, typer.Option(min=0, help="How often an utterance that reaches the frame limit is spoken anew.")
]
AttentionStop = Annotated[
    bool, typer.Option("--attention-stop", help="Also end where the attention stays on the last token.")
]
Raw = Annotated[bool, typer.Option("--raw", help="With --stream: samples alone, no wav header.")]
WavOption = Annotated[Wav, typer.Option(help="Sample format of the wav file.")]
Engines = Annotated[Optional[Path], typer.Option(help="Folder of TensorRT's engines.", show_default="BUNDLE/engines")]
