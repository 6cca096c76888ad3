"""Symbols that no training has taught: those of the demo voice, of untouched initial rows, and of decayed ones."""

from __future__ import annotations

import math

import numpy as np
import torch

from tacoglow.benchmarks.voices import demo_models
from tacoglow.export.untrained import untrained_rows
from tacoglow.text import NVIDIA_SYMBOLS


def initial(symbols: int, width: int) -> torch.nn.Embedding:
    """As NVIDIA/tacotron2 initializes it."""
    embedding = torch.nn.Embedding(symbols, width)
    bound = math.sqrt(3.0) * math.sqrt(2.0 / (symbols + width))
    embedding.weight.data.uniform_(-bound, bound)
    return embedding


def train(embedding: torch.nn.Embedding, used: int, weight_decay: float) -> np.ndarray:
    """Train rows [0, used) towards random targets, with Adam, as NVIDIA's script does."""
    optimizer = torch.optim.Adam(embedding.parameters(), lr=1e-3, weight_decay=weight_decay)
    targets = torch.randn(used, embedding.embedding_dim) * 0.2
    for _ in range(300):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(embedding(torch.arange(used)), targets)
        torch.autograd.backward(loss)
        optimizer.step()
    return embedding.weight.detach().numpy()


def test_demo_voice_knows_no_phones_and_no_capitals() -> None:
    rows = untrained_rows(demo_models().tacotron2.embedding.weight.detach().numpy())
    untrained = {symbol for symbol, is_untrained in zip(NVIDIA_SYMBOLS, rows, strict=True) if is_untrained}
    phones_and_capitals = {symbol for symbol in NVIDIA_SYMBOLS if len(symbol) > 1 or symbol.isupper()}
    assert phones_and_capitals <= untrained
    assert not set("abcdefghijklmnopqrstuvwxyz ,.") & untrained


def test_rows_without_a_gradient_are_found_with_and_without_weight_decay() -> None:
    torch.manual_seed(0)
    for weight_decay in (0.0, 1e-6, 0.1):
        rows = untrained_rows(train(initial(148, 512), 64, weight_decay))
        assert list(rows) == [False] * 64 + [True] * 84


def test_every_row_of_a_model_that_was_never_trained_is_found() -> None:
    torch.manual_seed(0)
    assert untrained_rows(initial(148, 512).weight.detach().numpy()).all()


def test_a_voice_trained_on_phones_is_not_found() -> None:
    torch.manual_seed(1)
    assert not untrained_rows(train(initial(148, 512), 148, 1e-6)).any()
