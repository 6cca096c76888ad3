"""Tacotron 2 for inference: plain PyTorch modules, the reference for every exported graph.

Source: Shen et al., "Natural TTS Synthesis by Conditioning WaveNet on Mel Spectrogram Predictions"
(arXiv 1712.05884), with the choices of NVIDIA's published implementation: LSTM dropout only in training, prenet
dropout also at inference.

A decoder step outputs r frames (`n_frames_per_step`), one gate and one row of the alignment; its input is the r frames
of the previous step. NVIDIA's code handles r > 1, though it calls only r = 1 supported. Lengths count frames here for
every r, while NVIDIA's `infer` counts steps.

Dimension letters: B batch, T tokens, F frames, S decoder steps (F = S * r), M mel bands, E encoder width, A attention
width, R LSTM width, P prenet width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Tacotron2Config


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """Return a bool mask [B, size], true at positions past an item's length."""
    return torch.arange(size, device=lengths.device)[None, :] >= lengths[:, None]


def conv_batch_norm(n_in: int, n_out: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(n_in, n_out, kernel_size, padding=(kernel_size - 1) // 2), nn.BatchNorm1d(n_out))


class Encoder(nn.Module):
    def __init__(self, config: Tacotron2Config) -> None:
        super().__init__()
        width = config.encoder_embedding_dim
        self.convolutions = nn.ModuleList(
            conv_batch_norm(width, width, config.encoder_kernel_size) for _ in range(config.encoder_n_convolutions)
        )
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)

    def forward(self, embedded: Tensor, token_lengths: Tensor) -> Tensor:
        """Embedded tokens [B, T, E] -> memory [B, T, E], zero past an item's length.

        Padding is zeroed before each convolution, so that an item's result does not depend on the batch.
        """
        valid = ~padding_mask(token_lengths, embedded.shape[1])[:, None, :]
        x = embedded.transpose(1, 2)  # [B, E, T]
        for convolution in self.convolutions:
            x = F.relu(convolution(x * valid))
        packed = nn.utils.rnn.pack_padded_sequence(
            x.transpose(1, 2), token_lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        memory, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=embedded.shape[1]
        )
        return memory


class Prenet(nn.Module):
    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(n_in, width, bias=False), nn.Linear(width, width, bias=False)])

    def forward(self, x: Tensor, dropout: Tensor) -> Tensor:
        """Frames of a step [B, r*M] and dropout factors [B, 2, P] (0 or 2) -> [B, P]."""
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x)) * dropout[:, i]
        return x


class LocationLayer(nn.Module):
    def __init__(self, config: Tacotron2Config) -> None:
        super().__init__()
        kernel = config.attention_location_kernel_size
        filters = config.attention_location_n_filters
        self.location_conv = nn.Conv1d(2, filters, kernel, padding=(kernel - 1) // 2, bias=False)
        self.location_dense = nn.Linear(filters, config.attention_dim, bias=False)

    def forward(self, weights_and_cumulative: Tensor) -> Tensor:
        """Attention weights and their sum so far [B, 2, T] -> location features [B, T, A]."""
        features: Tensor = self.location_dense(self.location_conv(weights_and_cumulative).transpose(1, 2))
        return features


class Attention(nn.Module):
    """Location-sensitive attention (Chorowski et al., arXiv 1506.07503)."""

    def __init__(self, config: Tacotron2Config) -> None:
        super().__init__()
        self.query_layer = nn.Linear(config.attention_rnn_dim, config.attention_dim, bias=False)
        self.memory_layer = nn.Linear(config.encoder_embedding_dim, config.attention_dim, bias=False)
        self.v = nn.Linear(config.attention_dim, 1, bias=False)
        self.location_layer = LocationLayer(config)

    def forward(
        self, query: Tensor, memory: Tensor, processed_memory: Tensor, memory_mask: Tensor, location: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Query [B, R], memory, processed memory, mask and location [B, 2, T] -> context [B, E], weights [B, T]."""
        features = self.query_layer(query)[:, None, :] + self.location_layer(location) + processed_memory
        energies = self.v(torch.tanh(features))[:, :, 0]  # [B, T]
        weights = F.softmax(energies.masked_fill(memory_mask, -torch.inf), dim=1)
        return torch.bmm(weights[:, None, :], memory)[:, 0], weights


class DecoderState(NamedTuple):
    """State passed from one decoder step to the next."""

    attention_hidden: Tensor  # [B, R]
    attention_cell: Tensor  # [B, R]
    decoder_hidden: Tensor  # [B, R]
    decoder_cell: Tensor  # [B, R]
    attention_weights: Tensor  # [B, T]
    attention_weights_cum: Tensor  # [B, T]
    attention_context: Tensor  # [B, E]


class Decoder(nn.Module):
    def __init__(self, config: Tacotron2Config) -> None:
        super().__init__()
        self.config = config
        memory = config.encoder_embedding_dim
        self.prenet = Prenet(config.step_mel_size, config.prenet_dim)
        self.attention_rnn = nn.LSTMCell(config.prenet_dim + memory, config.attention_rnn_dim)
        self.attention_layer = Attention(config)
        self.decoder_rnn = nn.LSTMCell(config.attention_rnn_dim + memory, config.decoder_rnn_dim)
        self.linear_projection = nn.Linear(config.decoder_rnn_dim + memory, config.step_mel_size)
        self.gate_layer = nn.Linear(config.decoder_rnn_dim + memory, 1)

    def initial_state(self, memory: Tensor) -> DecoderState:
        batch, tokens, width = memory.shape
        attention, decoder = self.config.attention_rnn_dim, self.config.decoder_rnn_dim
        sizes = (attention, attention, decoder, decoder, tokens, tokens, width)
        return DecoderState(*(memory.new_zeros(batch, size) for size in sizes))

    def forward(
        self,
        decoder_input: Tensor,
        prenet_dropout: Tensor,
        state: DecoderState,
        memory: Tensor,
        processed_memory: Tensor,
        memory_mask: Tensor,
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Run one step: the previous step's frames [B, r*M] -> frames [B, r*M], gate logit [B, 1], next state."""
        x = self.prenet(decoder_input, prenet_dropout)
        attention_hidden, attention_cell = self.attention_rnn(
            torch.cat((x, state.attention_context), 1), (state.attention_hidden, state.attention_cell)
        )
        context, weights = self.attention_layer(
            attention_hidden,
            memory,
            processed_memory,
            memory_mask,
            torch.stack((state.attention_weights, state.attention_weights_cum), 1),
        )
        decoder_hidden, decoder_cell = self.decoder_rnn(
            torch.cat((attention_hidden, context), 1), (state.decoder_hidden, state.decoder_cell)
        )
        output = torch.cat((decoder_hidden, context), 1)
        next_state = DecoderState(
            attention_hidden,
            attention_cell,
            decoder_hidden,
            decoder_cell,
            weights,
            state.attention_weights_cum + weights,
            context,
        )
        return self.linear_projection(output), self.gate_layer(output), next_state


class Postnet(nn.Module):
    def __init__(self, config: Tacotron2Config) -> None:
        super().__init__()
        width, count = config.postnet_embedding_dim, config.postnet_n_convolutions
        sizes = [config.n_mel_channels] + [width] * (count - 1) + [config.n_mel_channels]
        self.convolutions = nn.ModuleList(
            conv_batch_norm(n_in, n_out, config.postnet_kernel_size) for n_in, n_out in pairwise(sizes)
        )

    def forward(self, mel: Tensor, mel_lengths: Tensor) -> Tensor:
        """Mel [B, M, F] -> mel with the residual added [B, M, F], zero past an item's length."""
        valid = ~padding_mask(mel_lengths, mel.shape[2])[:, None, :]
        x = mel
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x * valid)
            if i < len(self.convolutions) - 1:
                x = torch.tanh(x)
        return (mel + x) * valid


class DecoderOutput(NamedTuple):
    """Result of the decoder loop; an item's frames past its own end are zero."""

    mel: Tensor  # [B, M, F] before the postnet
    gate_logits: Tensor  # [B, S]
    alignments: Tensor  # [B, S, T]
    mel_lengths: Tensor  # int32 [B]: frames of the steps before the gate fired
    frames_decoded: Tensor  # int32 [B]: mel_lengths, plus the frames of the step at which the gate fired


class Tacotron2(nn.Module):
    def __init__(self, config: Tacotron2Config | None = None) -> None:
        super().__init__()
        self.config = config or Tacotron2Config()
        self.audio: dict[str, float] = {}  # audio settings of the checkpoint
        self.family = ""  # family of the checkpoint
        self.embedding = nn.Embedding(self.config.n_symbols, self.config.symbols_embedding_dim)
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)
        self.postnet = Postnet(self.config)
        self.eval()

    def encode(self, token_ids: Tensor, token_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids [B, T] and lengths [B] -> memory [B, T, E], processed_memory [B, T, A], memory_mask [B, T]."""
        memory = self.encoder(self.embedding(token_ids), token_lengths)
        return (
            memory,
            self.decoder.attention_layer.memory_layer(memory),
            padding_mask(token_lengths, token_ids.shape[1]),
        )

    def decode(
        self,
        memory: Tensor,
        processed_memory: Tensor,
        memory_mask: Tensor,
        prenet_dropout: Tensor | None = None,
    ) -> DecoderOutput:
        """Run the decoder loop until every item's gate has fired, but at most config.max_decoder_steps steps.

        prenet_dropout [B, S, 2, P]: the factors (0 or 2) of every step; the loop runs at most S steps. If None, the
        factors are drawn from torch's global generator.
        """
        limit = self.config.max_decoder_steps
        if prenet_dropout is not None:
            limit = min(limit, prenet_dropout.shape[1])
        batch = memory.shape[0]
        state = self.decoder.initial_state(memory)
        frames = memory.new_zeros(batch, self.config.step_mel_size)
        before_gate = torch.zeros(batch, dtype=torch.int32, device=memory.device)  # steps before an item's gate fired
        decoded = torch.zeros_like(before_gate)  # those, plus the step at which the gate fired
        running = torch.ones(batch, dtype=torch.bool, device=memory.device)
        mels, gates, alignments = [], [], []
        for step in range(limit):
            dropout = self._draw_dropout(memory) if prenet_dropout is None else prenet_dropout[:, step]
            frames, gate, state = self.decoder(frames, dropout, state, memory, processed_memory, memory_mask)
            mels.append(frames * running[:, None])
            gates.append(gate[:, 0] * running)
            alignments.append(state.attention_weights * running[:, None])
            decoded += running
            running = running & (torch.sigmoid(gate[:, 0]) <= self.config.gate_threshold)
            before_gate += running
            if not running.any():
                break
        r, bands = self.config.n_frames_per_step, self.config.n_mel_channels
        mel = torch.stack(mels, 1).reshape(batch, -1, bands).transpose(1, 2).contiguous()  # [B, S, r*M] -> [B, M, F]
        return DecoderOutput(mel, torch.stack(gates, 1), torch.stack(alignments, 1), before_gate * r, decoded * r)

    def _draw_dropout(self, memory: Tensor) -> Tensor:
        return (
            torch.randint(0, 2, (memory.shape[0], 2, self.config.prenet_dim), device=memory.device).to(memory.dtype) * 2
        )

    @overload
    def infer(
        self, token_ids: Tensor, token_lengths: None = None, prenet_dropout: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...

    @overload
    def infer(
        self, token_ids: Tensor, token_lengths: Tensor, prenet_dropout: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    @torch.no_grad()
    def infer(
        self, token_ids: Tensor, token_lengths: Tensor | None = None, prenet_dropout: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Compute mels from token ids [B, T], with both signatures that NVIDIA has published.

        `infer(ids, lengths)` returns mel [B, M, F] after the postnet, mel_lengths int32 [B] and alignments [B, S, T].
        `infer(ids)`, the older form, assumes that every item has T tokens, and returns mel before the postnet, mel
        after it, gate logits [B, S] and alignments. As in NVIDIA's code, F includes the step at which the last gate
        fired, while mel_lengths counts only the frames before an item's gate. Unlike NVIDIA's, a batch may have any
        order, and each item's result equals its result alone, zero past its end.
        """
        lengths = token_lengths
        if lengths is None:
            lengths = torch.full(token_ids.shape[:1], token_ids.shape[1], device=token_ids.device)
        out = self.decode(*self.encode(token_ids, lengths), prenet_dropout)
        mel = self.postnet(out.mel, out.frames_decoded)
        if token_lengths is None:
            return out.mel, mel, out.gate_logits, out.alignments
        return mel, out.mel_lengths, out.alignments
