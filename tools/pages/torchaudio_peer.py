"""torchaudio's Tacotron 2, an independent implementation, with the same weights: encoder, decoder, postnet on CPU."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ...benchmarks.pipelines import Pipeline, PipelineOutput
from ...benchmarks.voices import Models
from ...benchmarks.workload import Workload, token_ids
from ...models import Tacotron2
from ...runtime.errors import BackendError

# Fields of our config that torchaudio names differently: our name -> torchaudio's name
NAMES = {
    "n_mel_channels": "n_mels",
    "n_symbols": "n_symbol",
    "symbols_embedding_dim": "symbol_embedding_dim",
    "encoder_n_convolutions": "encoder_n_convolution",
    "attention_dim": "attention_hidden_dim",
    "attention_location_n_filters": "attention_location_n_filter",
    "max_decoder_steps": "decoder_max_step",
    "postnet_n_convolutions": "postnet_n_convolution",
}


def torchaudio_tacotron2(ours: Tacotron2, **changes: Any) -> Any:
    """Return torchaudio's model with our model's weights. changes: settings to override, under torchaudio's names.

    Only torchaudio's tacotron2.py is executed, because importing the package requires a matching torch version. Raises
    BackendError if torchaudio is not installed.
    """
    package = importlib.util.find_spec("torchaudio")
    if package is None or not package.submodule_search_locations:
        raise BackendError("torchaudio is not installed (pip install torchaudio)")
    path = Path(package.submodule_search_locations[0]) / "models" / "tacotron2.py"
    spec = importlib.util.spec_from_file_location("torchaudio_tacotron2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    settings = {NAMES.get(name, name): value for name, value in vars(ours.config).items()}
    model = module.Tacotron2(**settings | changes).eval()
    model.load_state_dict(ours.state_dict())
    return model


@contextmanager
def dropout_masks(masks: Tensor) -> Iterator[None]:
    """Make torch's dropout multiply by these masks [B, steps, layers, P] (0 or 2), one layer per call."""
    layer_masks = iter(masks.flatten(1, 2).unbind(1))

    def apply_mask(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * next(layer_masks) if training else x

    with mock.patch("torch.nn.functional.dropout", apply_mask):
        yield


class TorchaudioPipeline(Pipeline):
    name, precision, device = "torchaudio", "fp32", "CPU"

    def __init__(self, models: Models) -> None:
        self._models = models
        self._model = torchaudio_tacotron2(models.tacotron2, gate_threshold=1.0)  # never exceeded

    @torch.inference_mode()
    def synthesize(self, work: Workload) -> tuple[PipelineOutput, dict[str, float]]:
        config = self._models.tacotron2.config
        steps = work.frames // config.n_frames_per_step
        self._model.decoder.decoder_max_step = steps
        ids = torch.tensor([token_ids(self._models.front_end, work.tokens)] * work.batch)
        lengths = torch.full((work.batch,), work.tokens)
        masks = [torch.from_numpy(noise.prenet_dropout(0, steps, 2, config.prenet_dim)) for noise in work.noises()]
        with dropout_masks(torch.stack(masks)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchaudio warns when the step limit is reached
            begin = time.perf_counter()
            mel, _, _ = self._model.infer(ids, lengths)
            seconds = time.perf_counter() - begin
        return PipelineOutput(mel.numpy(), None), {"acoustic": seconds}
