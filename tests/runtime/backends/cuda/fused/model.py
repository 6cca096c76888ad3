"""The decoder step in NumPy, twice: the plain function, and the schedule of fused_decoder.cu with its rounding.

`decode` is what the ONNX graph decoder_step computes, in the arithmetic of its arguments; `decode_scheduled` does what
the kernel does, phase by phase: composed projection, a frame projected one step late, halves between the blocks. The
kernel differs from it by the order of float32 sums and its approximate exp2 and reciprocal alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacoglow.runtime.backends.cuda.fused.weights import DecoderWeights

Array = NDArray[Any]
STATES = (
    "attention_hidden",
    "attention_cell",
    "decoder_hidden",
    "decoder_cell",
    "attention_weights",
    "attention_weights_cum",
    "attention_context",
)
SMALL = {"MEL": 20, "PRENET": 32, "ENCODER": 64, "ATTENTION": 128, "ATTENTION_RNN": 128, "DECODER_RNN": 128, "TAPS": 31}
ODD = {"MEL": 13, "PRENET": 40, "ENCODER": 72, "ATTENTION": 100, "ATTENTION_RNN": 104, "DECODER_RNN": 88, "TAPS": 7}
NVIDIA = {
    "MEL": 80,
    "PRENET": 256,
    "ENCODER": 512,
    "ATTENTION": 128,
    "ATTENTION_RNN": 1024,
    "DECODER_RNN": 1024,
    "TAPS": 31,
}


def random_weights(dims: dict[str, int], seed: int = 0) -> DecoderWeights:
    """Uniform, of the size that PyTorch's own initialization gives; no gate ever fires."""
    rng = np.random.default_rng(seed)
    mel, prenet, encoder, attention = dims["MEL"], dims["PRENET"], dims["ENCODER"], dims["ATTENTION"]
    rnn, decoder, taps = dims["ATTENTION_RNN"], dims["DECODER_RNN"], dims["TAPS"]

    def uniform(*shape: int, size: int | None = None) -> NDArray[np.float32]:
        bound = (size or shape[-1]) ** -0.5
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    weights = DecoderWeights(
        prenet_1=uniform(prenet, mel),
        prenet_2=uniform(prenet, prenet),
        attention_rnn=uniform(4 * rnn, prenet + encoder + rnn, size=rnn),
        attention_bias=uniform(4 * rnn, size=rnn),
        query=uniform(attention, rnn, size=64),
        location=uniform(attention, 2, taps, size=64),
        energy=uniform(attention, size=8),
        decoder_rnn=uniform(4 * decoder, rnn + encoder + decoder, size=decoder),
        decoder_bias=uniform(4 * decoder, size=decoder),
        projection=uniform(mel + 1, decoder + encoder, size=64),
        projection_bias=uniform(mel + 1, size=1),
    )
    weights.projection_bias[-1] = -20.0
    return weights


def rounded(weights: DecoderWeights) -> DecoderWeights:
    """As the kernel keeps them: half precision, but for the location's weights, the energy's and the biases."""
    kept = ("location", "energy", "attention_bias", "decoder_bias", "projection_bias")
    return DecoderWeights(
        **{name: a if name in kept else a.astype(np.float16).astype(np.float32) for name, a in vars(weights).items()}
    )


@dataclass(frozen=True)
class Encoded:
    memory: Array  # [B, T, E]
    processed_memory: Array  # [B, T, A]
    lengths: Array  # int32 [B]

    @classmethod
    def random(cls, dims: dict[str, int], lengths: list[int], tokens: int, seed: int = 0) -> Encoded:
        """A memory as an encoder's LSTM makes it, within (-1, 1) and zero beyond each length."""
        rng = np.random.default_rng(seed)
        memory = np.tanh(rng.standard_normal((len(lengths), tokens, dims["ENCODER"]))).astype(np.float32)
        memory *= (np.arange(tokens)[None] < np.array(lengths)[:, None])[:, :, None]
        layer = rng.standard_normal((dims["ENCODER"], dims["ATTENTION"])) * dims["ENCODER"] ** -0.5
        return cls(memory, (memory @ layer).astype(np.float32), np.array(lengths, np.int32))

    def item(self, i: int) -> Encoded:
        return Encoded(*(np.ascontiguousarray(array[i : i + 1]) for array in vars(self).values()))


@dataclass(frozen=True)
class Decoded:
    mel: Array  # [steps, B, M]
    gate_logits: Array  # [steps, B]
    alignments: Array  # [steps, B, T]
    state: dict[str, Array]

    @property
    def outputs(self) -> dict[str, Array]:
        return {"mel": self.mel, "gate_logits": self.gate_logits, "alignments": self.alignments, **self.state}


def initial_state(dims: dict[str, int], batch: int, tokens: int) -> dict[str, Array]:
    attention, decoder = dims["ATTENTION_RNN"], dims["DECODER_RNN"]
    widths = (attention, attention, decoder, decoder, tokens, tokens, dims["ENCODER"])
    return {name: np.zeros((batch, width), np.float32) for name, width in zip(STATES, widths, strict=True)}


def random_dropout(steps: int, batch: int, prenet: int, seed: int = 0) -> NDArray[np.float32]:
    """Factors [steps, B, 2, P]; an item's do not depend on the batch."""
    items = [np.random.default_rng((seed, item)).integers(0, 2, (steps, 2, prenet)) for item in range(batch)]
    return (2 * np.stack(items, 1)).astype(np.float32)


def half(x: Array) -> Array:
    return x.astype(np.float16).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        y: Array = 1 / (1 + np.exp(-x))
    return y


def lstm(gates: Array, cell: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(gates, 4, axis=1)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def energies(
    weights: DecoderWeights, encoded: Encoded, query: Array, weights_before: Array, sum_before: Array
) -> Array:
    taps = weights.location.shape[2]
    windows = np.stack((weights_before, sum_before), 1)  # [B, 2, T]
    windows = np.pad(windows, ((0, 0), (0, 0), ((taps - 1) // 2, taps // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(windows, taps, axis=2)  # [B, 2, T, taps]
    location = np.einsum("bctk,ack->bta", windows, weights.location, optimize=True)
    features = np.tanh(query[:, None] + location + encoded.processed_memory)
    masked = np.arange(features.shape[1])[None] >= encoded.lengths[:, None]
    return np.where(masked, -np.inf, features @ weights.energy)


def softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max(1, keepdims=True))
    y: Array = exponentials / exponentials.sum(1, keepdims=True)
    return y


def decode(weights: DecoderWeights, encoded: Encoded, dropout: Array, state: dict[str, Array]) -> Decoded:
    """An utterance's first steps in the graph's own order."""
    s = dict(state)
    frame = np.zeros((len(encoded.lengths), weights.dims["MEL"]), np.float32)
    mels, gates, alignments = [], [], []
    for factors in dropout:
        x = np.maximum(frame @ weights.prenet_1.T, 0) * factors[:, 0]
        x = np.maximum(x @ weights.prenet_2.T, 0) * factors[:, 1]
        rows = np.concatenate((x, s["attention_context"], s["attention_hidden"]), 1)
        s["attention_hidden"], s["attention_cell"] = lstm(
            rows @ weights.attention_rnn.T + weights.attention_bias, s["attention_cell"]
        )
        query = s["attention_hidden"] @ weights.query.T
        attended = softmax(energies(weights, encoded, query, s["attention_weights"], s["attention_weights_cum"]))
        s["attention_weights"], s["attention_weights_cum"] = attended, s["attention_weights_cum"] + attended
        s["attention_context"] = np.einsum("bt,bte->be", attended, encoded.memory)
        rows = np.concatenate((s["attention_hidden"], s["attention_context"], s["decoder_hidden"]), 1)
        s["decoder_hidden"], s["decoder_cell"] = lstm(
            rows @ weights.decoder_rnn.T + weights.decoder_bias, s["decoder_cell"]
        )
        rows = np.concatenate((s["decoder_hidden"], s["attention_context"]), 1)
        projected = rows @ weights.projection.T + weights.projection_bias
        frame = projected[:, :-1]
        mels.append(frame)
        gates.append(projected[:, -1])
        alignments.append(attended)
    return Decoded(np.stack(mels), np.stack(gates), np.stack(alignments), s)


def decode_scheduled(weights: DecoderWeights, encoded: Encoded, dropout: Array, state: dict[str, Array]) -> Decoded:
    """An utterance's first steps in the kernel's order and rounding; phases are lettered as there."""
    steps = len(dropout)
    kept = rounded(weights)
    prenet, decoder_rnn = len(weights.prenet_1), len(weights.decoder_bias) // 4
    encoder = weights.projection.shape[1] - decoder_rnn
    composed = (weights.prenet_1.astype(np.float64) @ weights.projection[:-1]).astype(np.float16).astype(np.float32)
    composed_bias = (weights.prenet_1.astype(np.float64) @ weights.projection_bias[:-1]).astype(np.float32)
    attention_shares = np.split(kept.attention_rnn, (prenet, prenet + encoder), axis=1)
    attention_rnn = len(weights.attention_bias) // 4
    decoder_shares = np.split(kept.decoder_rnn, (attention_rnn, attention_rnn + encoder), axis=1)
    memory = half(encoded.memory)

    hidden, context = half(state["decoder_hidden"]), half(state["attention_context"])
    attention_sums = half(state["attention_hidden"]) @ attention_shares[2].T + context @ attention_shares[1].T
    attention_cell, decoder_cell = state["attention_cell"], state["decoder_cell"]
    attended, attended_sum = state["attention_weights"], state["attention_weights_cum"]
    mels, gates, alignments = [], [], []
    for step in range(steps + 1):
        # A
        rows = np.concatenate((hidden, context), 1)
        if step > 0:
            frame = rows @ kept.projection.T + weights.projection_bias
            mels.append(frame[:, :-1])
            gates.append(frame[:, -1])
        if step == steps:
            break
        x = rows @ composed.T + composed_bias if step > 0 else np.zeros((len(hidden), prenet), np.float32)
        x = half(np.maximum(x, 0) * dropout[step][:, 0])
        decoder_sums = hidden @ decoder_shares[2].T
        # B
        x = half(np.maximum(x @ kept.prenet_2.T, 0) * dropout[step][:, 1])
        # C
        gates_in = attention_sums + x @ attention_shares[0].T + weights.attention_bias
        attention_hidden, attention_cell = lstm(gates_in, attention_cell)
        attention = half(attention_hidden)
        # D
        query = attention @ kept.query.T
        decoder_sums += attention @ decoder_shares[0].T
        # E
        values = energies(weights, encoded, query, attended, attended_sum)
        attention_sums = attention @ attention_shares[2].T
        # F
        exponentials = np.exp(values)
        scale = 1 / exponentials.sum(1, keepdims=True)
        attended = exponentials * scale
        attended_sum = attended_sum + attended
        context_sums = np.einsum("bt,bte->be", exponentials, memory) * scale
        context = half(context_sums)
        alignments.append(attended)
        # G
        decoder_sums += context @ decoder_shares[1].T
        decoder_hidden, decoder_cell = lstm(decoder_sums + weights.decoder_bias, decoder_cell)
        hidden = half(decoder_hidden)
        attention_sums += context @ attention_shares[1].T
    final = (attention_hidden, attention_cell, decoder_hidden, decoder_cell, attended, attended_sum, context_sums)
    return Decoded(np.stack(mels), np.stack(gates), np.stack(alignments), dict(zip(STATES, final, strict=True)))
