"""Compares exported graphs, run by a backend, with the PyTorch modules on the same inputs.

Every graph receives inputs that the modules compute inside a real utterance, two items of different length at once.
Then both sides synthesize one utterance from the same noise, each decoder feeding on its own output, and their stop
frames, mels and audio are compared.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.denoiser import Denoiser
from ..models.tacotron2 import DecoderState, Tacotron2
from ..models.vocoder import Vocoder
from ..runtime.bundle.manifest import Manifest, Parity, TensorParity
from ..runtime.errors import ExportError
from ..runtime.noise import Noise
from ..runtime.options import SpeechOptions
from ..runtime.synthesizer import Synthesizer

STATE_STEPS = 12  # decoder steps before the one that is compared, so that its states are typical of speech
GRAPH_FRAMES = 40  # mel frames on which postnet, vocoder and denoiser are compared
PIPELINE_FRAMES = 240  # frame limit of the free-running comparison
SENTENCES = ("Hello world, I missed you.", "Speak.")
SIGMA = 0.6
DENOISER_STRENGTH = 0.1
Progress = Callable[[str], None]  # called with one line for the user
MIN_STOP_FRAMES = 80  # shorter utterances get the stop frame tolerance of one of this length


@dataclass(frozen=True)
class Tolerance:
    """Largest absolute errors of outputs of order 1; for larger outputs they are scaled by the largest value.

    The free-running decoder feeds on its own output, so rounding grows along an utterance, at some places a
    thousandfold. In float32 the pipeline may therefore differ from PyTorch by DRIFT times the difference between
    PyTorch's float32 and float64, if that is more. Half precision rounds each product to 11 or 8 bits, which shifts the
    same speech slightly in time: only each graph on the same inputs and the utterance's length are compared.
    """

    graph: float
    pipeline: float | None  # mel and audio
    stop: float  # largest difference of the stop frames, as a share of the utterance

    def admits_stop(self, expected: int, got: int) -> bool:
        return abs(expected - got) <= self.stop * max(expected, MIN_STOP_FRAMES)


TOLERANCES = {
    "fp32": Tolerance(graph=1e-4, pipeline=1e-3, stop=0.0),
    "fp16": Tolerance(graph=1e-2, pipeline=None, stop=0.1),
    "bf16": Tolerance(graph=8e-2, pipeline=None, stop=0.25),
}
DRIFT = 10.0


class ParityReference:
    """The PyTorch modules of a voice, run with the noise that the exported graphs get."""

    def __init__(self, tacotron2: Tacotron2, vocoder: Vocoder, denoiser: Denoiser) -> None:
        self.tacotron2, self.vocoder, self.denoiser = tacotron2, vocoder, denoiser
        self.config = tacotron2.config

    def mel(self, ids: list[int], noise: Noise, frames: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, int]:
        """Return an utterance's float32 mel [1, M, F], computed in dtype, and the frames before its gate fired."""
        tacotron2 = self.tacotron2 if dtype == torch.float32 else copy.deepcopy(self.tacotron2).to(dtype)
        encoded = tacotron2.encode(torch.tensor([ids]), torch.tensor([len(ids)]))
        decoded = tacotron2.decode(*encoded, self.dropout(noise, frames // self.config.n_frames_per_step).to(dtype))
        return tacotron2.postnet(decoded.mel, decoded.frames_decoded).float(), int(decoded.mel_lengths[0])

    def audio(self, mel: Tensor, noise: Noise, sigma: float) -> Tensor:
        """Return the samples [1, F * hop] of a mel [1, M, F]."""
        return self.vocoder.generate(*self.vocoder_inputs(mel, [noise], sigma).values())

    def dropout(self, noise: Noise, steps: int) -> Tensor:
        return torch.from_numpy(noise.prenet_dropout(0, steps, 2, self.config.prenet_dim))[None]

    def vocoder_inputs(self, mel: Tensor, noises: Sequence[Noise], sigma: float) -> dict[str, Tensor]:
        """Return the mel [B, M, F], and z of one noise per item if the vocoder takes any."""
        if not self.vocoder.takes_noise:
            return {"mel": mel}
        n_group, groups = self.vocoder.noise_shape(mel.shape[2])
        z = torch.from_numpy(np.stack([noise.z(0, groups, n_group) for noise in noises]))
        return {"mel": mel, "z": z * sigma}


def measure_parity(synthesizer: Synthesizer, reference: ParityReference, progress: Progress) -> Parity:
    """Compare every graph and the pipeline; progress is called with a line per graph.

    Raises ExportError, which names the tensor, if an error exceeds its tolerance.
    """
    manifest = synthesizer.manifest
    graphs = measure_graphs(synthesizer, reference, progress)
    with torch.no_grad():
        pipeline, stops = _pipeline_parity(synthesizer, reference, example_ids(synthesizer)[0])
    parity = Parity(graphs=graphs, pipeline=pipeline, stop_frames=stops)
    _check_tolerances(parity, manifest)
    return parity


def example_ids(synthesizer: Synthesizer) -> list[list[int]]:
    """Return the token ids of two texts of different length, within the voice's symbols and token limit."""
    limit, symbols = synthesizer.manifest.range("T").max, len(synthesizer.manifest.text.symbols)
    encoder = synthesizer.front_end
    if all(encoder.count_tokens(sentence) for sentence in SENTENCES):
        return [encoder.encode(sentence)[:limit] for sentence in SENTENCES]
    return [[1 + i % (symbols - 1) for i in range(n)] for n in (min(limit, 24), min(limit, 7))]


@torch.no_grad()
def measure_graphs(
    synthesizer: Synthesizer, reference: ParityReference, progress: Progress = lambda line: None
) -> dict[str, dict[str, TensorParity]]:
    """Return the errors of every graph against its module on the same inputs, by graph and output, and judge none."""
    manifest = synthesizer.manifest
    ids = example_ids(synthesizer)[: manifest.range("B").max]
    tolerance, frames = TOLERANCES[manifest.precision].graph, min(GRAPH_FRAMES, manifest.range("F").max)
    steps = max(1, frames // manifest.decoder.frames_per_step)
    report = {}
    for name, inputs, expected in _graph_cases(reference, ids, steps, manifest.range("S").min):
        runner = synthesizer.backend.open(name)
        got = runner.run(**{key: value.contiguous().numpy() for key, value in inputs.items()})
        report[name] = {key: compare(got[key], value.numpy(), tolerance) for key, value in expected.items()}
        largest = max(entry.max_abs_error for entry in report[name].values())
        progress(f"{name:13} checked against PyTorch: largest error {largest:.1e}")
    return report


def _graph_cases(
    reference: ParityReference, ids: list[list[int]], steps: int, min_samples: int
) -> list[tuple[str, Mapping[str, Tensor], Mapping[str, Tensor]]]:
    """Return (graph, inputs by name, expected outputs by name); inputs are outputs of the modules before it.

    steps: decoder steps; min_samples: fewest samples that the denoiser accepts.
    """
    tacotron2, config = reference.tacotron2, reference.config
    lengths = torch.tensor([len(item) for item in ids], dtype=torch.int32)
    token_ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(item) for item in ids], batch_first=True).int()
    memory, processed, mask = tacotron2.encode(token_ids, lengths)
    encoded = {"memory": memory, "processed_memory": processed, "memory_mask": mask}

    dropout = torch.cat([reference.dropout(Noise(i), steps) for i in range(len(ids))])
    state, mel_frame = tacotron2.decoder.initial_state(memory), memory.new_zeros(len(ids), config.step_mel_size)
    mels = []
    for step in range(steps):
        masks = dropout[:, step]
        inputs = {"decoder_input": mel_frame, "prenet_dropout": masks, **state._asdict(), **encoded}
        mel_frame, gate, state = tacotron2.decoder(mel_frame, masks, state, memory, processed, mask)
        mels.append(mel_frame)
        if step == min(STATE_STEPS, steps - 1):
            step_case = (inputs, _step_outputs(mel_frame, gate, state))

    mel = torch.cat(mels, 1).reshape(len(ids), -1, config.n_mel_channels).transpose(1, 2)  # [B, M, F]
    frames = mel.shape[2]
    mel_lengths = torch.tensor([frames, max(1, frames - 7)][: len(ids)], dtype=torch.int32)
    mel_postnet = tacotron2.postnet(mel, mel_lengths)
    vocoder_mel = tacotron2.postnet(mel, torch.full_like(mel_lengths, frames))
    vocoder_inputs = reference.vocoder_inputs(vocoder_mel, [Noise(i) for i in range(len(ids))], SIGMA)
    audio = reference.vocoder.generate(*vocoder_inputs.values())
    samples = torch.nn.functional.pad(audio, (0, max(0, min_samples - audio.shape[1])))
    strength = torch.tensor([DENOISER_STRENGTH])
    return [
        ("encoder", {"token_ids": token_ids, "token_lengths": lengths}, encoded),
        ("decoder_step", *step_case),
        ("postnet", {"mel": mel, "mel_lengths": mel_lengths}, {"mel_postnet": mel_postnet}),
        (reference.vocoder.kind, vocoder_inputs, {"audio": audio}),
        (
            "denoiser",
            {"audio": samples, "strength": strength},
            {"audio_denoised": reference.denoiser(samples, strength)},
        ),
    ]


def _step_outputs(mel: Tensor, gate: Tensor, state: DecoderState) -> dict[str, Tensor]:
    states = {f"{name}_out": value for name, value in state._asdict().items()}
    return {"mel_frame": mel, "gate_logit": gate, **states}


def _pipeline_parity(
    synthesizer: Synthesizer, reference: ParityReference, ids: list[int]
) -> tuple[dict[str, TensorParity], tuple[int, int]]:
    manifest, tolerance = synthesizer.manifest, TOLERANCES[synthesizer.manifest.precision]
    frames = min(PIPELINE_FRAMES, manifest.decoder.max_frames)
    options = SpeechOptions(max_frames=frames, retries=0, attention_stop=False)  # the modules end at the gate alone
    limit, noise, sigma = options.resolve(manifest).frame_limit, Noise(0), manifest.vocoder.sigma
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reaching the frame limit is expected: it is the same on both sides
        out = synthesizer.speak_ids([ids], [noise], options)[0]
    mel, stop = reference.mel(ids, noise, limit)
    stops = stop, out.mel.shape[1]
    if tolerance.pipeline is None or stops[0] != stops[1]:
        return {}, stops
    audio = reference.audio(mel, noise, sigma)[:, : len(out.samples)]
    report = {
        "mel": compare(out.mel, mel[0, :, :stop].numpy(), tolerance.pipeline),
        "audio": compare(out.samples, audio[0].numpy(), tolerance.pipeline),
    }
    if any(entry.max_abs_error > entry.tolerance for entry in report.values()):
        exact, _ = reference.mel(ids, noise, limit, torch.float64)
        drifts = {"mel": _drift(mel, exact), "audio": _drift(audio, reference.audio(exact, noise, sigma))}
        report = {
            name: msgspec.structs.replace(entry, tolerance=max(entry.tolerance, DRIFT * drifts[name]))
            for name, entry in report.items()
        }
    return report, stops


def _drift(computed: Tensor, exact: Tensor) -> float:
    """Return the largest difference over the part of the last axis that both tensors have."""
    end = min(computed.shape[-1], exact.shape[-1])
    return float((computed[..., :end] - exact[..., :end]).abs().max()) if end else 0.0


def compare(got: NDArray[np.generic], expected: NDArray[np.generic], tolerance: float) -> TensorParity:
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    scale = max(1.0, float(np.abs(expected.astype(np.float64)).max(initial=0.0)))
    return TensorParity(max_abs_error=float(difference.max(initial=0.0)), tolerance=tolerance * scale)


def find_mismatch(graphs: Mapping[str, Mapping[str, TensorParity]]) -> tuple[str, str, TensorParity] | None:
    """Find the first error that exceeds its tolerance: graph, tensor and error."""
    entries = ((name, tensor, entry) for name, tensors in graphs.items() for tensor, entry in tensors.items())
    return next((found for found in entries if not found[2].max_abs_error <= found[2].tolerance), None)  # NaN too


def _check_tolerances(parity: Parity, manifest: Manifest) -> None:
    """Raise ExportError if an error exceeds its tolerance, or if the stop frames differ too much."""
    mismatch = find_mismatch({**parity.graphs, "pipeline": parity.pipeline})
    if mismatch is not None:
        name, tensor, entry = mismatch
        raise ExportError(
            f"parity: {name}: {tensor} differs from PyTorch by {entry.max_abs_error:.3g}, tolerance "
            f"{entry.tolerance:.3g}, at precision {manifest.precision}; try --precision fp32"
        )
    expected, got = parity.stop_frames
    if not TOLERANCES[manifest.precision].admits_stop(expected, got):
        raise ExportError(
            f"parity: pipeline: PyTorch stops at frame {expected}, the exported graphs at {got}, at precision "
            f"{manifest.precision}; try --precision fp32"
        )
