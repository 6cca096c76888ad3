"""Opens a bundle's voice for `tacoglow say`, and speaks a text with it under a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .options import ComputeChoice, DecoderChoice, print_status
from .progress import SpeechProgress

if TYPE_CHECKING:
    from ...runtime.options import SpeechOptions
    from ...runtime.output.audio import Audio
    from ...runtime.synthesizer import Synthesizer


def find_bundle(folder: str | None, demo: bool) -> Path:
    """Return the bundle's folder: as named, fetched from hf://OWNER/VOICE[@REVISION], or that of the demo voice.

    Raises BundleError if there is none.
    """
    from ...export.demo import demo_bundle
    from ...runtime.bundle.hub import fetch_bundle, is_on_hub
    from ...runtime.errors import BundleError

    if demo:
        return demo_bundle()
    if folder is None:
        raise BundleError("BUNDLE: missing; name the folder that export-onnx wrote, or give --demo")
    if not is_on_hub(folder):
        return Path(folder)
    fetched = fetch_bundle(folder)
    if not folder.endswith(f"@{fetched.name}"):
        print_status(f"{folder.partition('@')[0]}@{fetched.name} is this version")
    return fetched


def load_voice(
    bundle: Path,
    *,
    backend: str,
    device: int | None,
    threads: int | None,
    engines: Path | None,
    decoder: DecoderChoice,
    compute: ComputeChoice,
    normalizer: str | None = None,
) -> Synthesizer:
    """Open the bundle, print the backend, and warn of options that have no effect with it."""
    from ...runtime.backends.cuda.driver import find_driver
    from ...runtime.synthesizer import Synthesizer

    synthesizer = Synthesizer.load(
        bundle,
        backend,
        device=device or 0,
        threads=threads,
        engines=engines,
        decoder=decoder.value,
        normalizer=normalizer,
        compute=compute.value,
    )
    opened = synthesizer.backend
    driver = None if opened.runs_asynchronously else find_driver()
    # Where there is a GPU that is not used, the user should know why; the other reasons are in `tacoglow doctor`.
    print_status(opened.choice if driver is not None and driver.gpus else f"{opened.device} ({opened.name})")
    if opened.decoder:
        print_status(f"decoder: {opened.decoder}")
    if opened.vocoder:
        print_status(f"vocoder: {opened.vocoder}")
    without_effect = {
        "--device": device is not None and not opened.runs_asynchronously,
        "--decoder": decoder is DecoderChoice.fused and not opened.runs_asynchronously,
        "--compute": compute is not ComputeChoice.fp32 and not opened.has_int8_decoder,
        "--threads": threads is not None and opened.runs_asynchronously,
        "--engines": engines is not None and not opened.name.startswith("tensorrt"),
    }
    for option, is_given in without_effect.items():
        if is_given:
            print_status(f"warning: {option}: has no effect with the backend {opened.name}")
    return synthesizer


def speak_text(voice: Synthesizer, text: str, seed: int, options: SpeechOptions, has_bar: bool) -> Audio:
    from ...text import warn_dropped, warn_of_remarks

    split = voice.split(text, options)
    warn_dropped(split.dropped, stacklevel=2)
    warn_of_remarks(split.remarks, stacklevel=2)
    rate, pieces = voice.manifest.audio.sampling_rate, len(split.pieces)
    with SpeechProgress(pieces, is_shown=has_bar and pieces > 1) as bar:
        spoken = voice.say_each([split], [seed], options, lambda done: bar.add(len(done.samples) / rate))
        return dict(spoken)[0]
