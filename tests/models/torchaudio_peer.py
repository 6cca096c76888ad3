"""torchaudio's Tacotron 2, an independent implementation, with the weights of one of this package's models."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor

from tacoglow.models import Tacotron2

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

    Only torchaudio's tacotron2.py is executed, because importing the package requires a matching torch version.
    """
    package = importlib.util.find_spec("torchaudio")
    assert package is not None
    assert package.submodule_search_locations
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
