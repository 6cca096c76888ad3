"""Tacotron 2's three graphs (encoder, decoder_step, postnet), with folded weights and explicit precision.

`compute` is the dtype of the heavy products. Everything that half precision is known to break stays float32: the
encoder's LSTM (its cell states), attention energies, softmax and cumulative weights, LSTM cell states, the projection
to mel and gate. Floating-point inputs and outputs are float32, so there are casts only where the precision changes.

Dimension letters: B batch, T tokens, F frames, M mel bands, E encoder width, A attention width, R LSTM width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.tacotron2 import Decoder, Postnet, Tacotron2, padding_mask
from .fold import children, fold_batch_norm, fold_location, merge_lstm_cell


class Conv(nn.Module):
    """A convolution with constant weights in `compute`; "same" padding unless `padding` is given."""

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None, compute: torch.dtype, dilation: int = 1, padding: int | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(compute))
        self.register_buffer("bias", None if bias is None else bias.to(compute))
        self.dilation = dilation
        self.padding = (weight.shape[2] - 1) // 2 * dilation if padding is None else padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight, self.bias, dilation=self.dilation, padding=self.padding)


class Linear(nn.Module):
    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, compute: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(compute))
        self.register_buffer("bias", None if bias is None else bias.to(compute))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class EncoderGraph(nn.Module):
    """Encoder whose bidirectional LSTM is two forward LSTMs, the second over each item reversed within its length.

    This avoids packed sequences, so one graph works in ONNX and TorchScript and with items in any order.
    """

    def __init__(self, tacotron2: Tacotron2, compute: torch.dtype) -> None:
        super().__init__()
        self.compute = compute
        self.register_buffer("embedding", tacotron2.embedding.weight.to(compute))
        self.convolutions = nn.ModuleList(
            Conv(*fold_batch_norm(pair), compute) for pair in children(tacotron2.encoder.convolutions, nn.Sequential)
        )
        self.forward_lstm, self.backward_lstm = _split_directions(tacotron2.encoder.lstm)
        self.memory_layer = Linear(tacotron2.decoder.attention_layer.memory_layer.weight, None, compute)

    def forward(self, token_ids: Tensor, token_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mask = padding_mask(token_lengths, token_ids.shape[1])  # [B, T]
        valid = (~mask)[:, None, :].to(self.compute)
        x = F.embedding(token_ids, self.embedding).transpose(1, 2)  # type: ignore[arg-type]
        for convolution in self.convolutions:
            x = F.relu(convolution(x * valid))
        x = x.transpose(1, 2).float()  # [B, T, E]
        reverse = _reversed_positions(token_lengths, token_ids.shape[1])[:, :, None]
        forward, _ = self.forward_lstm(x)
        backward, _ = self.backward_lstm(torch.gather(x, 1, reverse.expand(-1, -1, x.shape[2])))
        backward = torch.gather(backward, 1, reverse.expand(-1, -1, backward.shape[2]))
        memory = torch.cat((forward, backward), 2) * (~mask)[:, :, None].float()
        return memory, self.memory_layer(memory.to(self.compute)).float(), mask


def _split_directions(lstm: nn.LSTM) -> tuple[nn.LSTM, nn.LSTM]:
    halves = []
    for suffix in ("", "_reverse"):
        half = nn.LSTM(lstm.input_size, lstm.hidden_size, batch_first=True)
        half.load_state_dict({name: getattr(lstm, name + suffix) for name in half.state_dict()})
        halves.append(half)
    return halves[0], halves[1]


def _reversed_positions(lengths: Tensor, size: int) -> Tensor:
    """Return int64 [B, size]: the source of each position of an item reversed within its length; 0 for padding."""
    positions = lengths[:, None].long() - 1 - torch.arange(size, device=lengths.device)[None, :]
    return positions.clamp(min=0)


class LSTMCell(nn.Module):
    """An LSTM cell with one matrix product for input and hidden state; the cell state stays float32."""

    def __init__(self, cell: nn.LSTMCell, compute: torch.dtype) -> None:
        super().__init__()
        self.compute = compute
        self.gates = Linear(*merge_lstm_cell(cell), compute)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        gates = self.gates(torch.cat((x, hidden), 1).to(self.compute)).float()
        i, f, g, o = gates.split(cell.shape[1], 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell


class DecoderStepGraph(nn.Module):
    energy: Tensor

    def __init__(self, decoder: Decoder, compute: torch.dtype) -> None:
        super().__init__()
        self.compute = compute
        attention = decoder.attention_layer
        location = attention.location_layer
        self.prenet = nn.ModuleList(
            Linear(layer.weight, None, compute) for layer in children(decoder.prenet.layers, nn.Linear)
        )
        self.attention_rnn = LSTMCell(decoder.attention_rnn, compute)
        self.query = Linear(attention.query_layer.weight, None, compute)
        self.location = Conv(fold_location(location.location_conv, location.location_dense), None, torch.float32)
        self.register_buffer("energy", attention.v.weight[0].clone())  # [A]
        self.decoder_rnn = LSTMCell(decoder.decoder_rnn, compute)
        projection, gate = decoder.linear_projection, decoder.gate_layer
        self.projection = Linear(
            torch.cat((projection.weight, gate.weight)), torch.cat((projection.bias, gate.bias)), torch.float32
        )

    def forward(
        self,
        decoder_input: Tensor,
        prenet_dropout: Tensor,
        attention_hidden: Tensor,
        attention_cell: Tensor,
        decoder_hidden: Tensor,
        decoder_cell: Tensor,
        attention_weights: Tensor,
        attention_weights_cum: Tensor,
        attention_context: Tensor,
        memory: Tensor,
        processed_memory: Tensor,
        memory_mask: Tensor,
    ) -> tuple[Tensor, ...]:
        x = decoder_input.to(self.compute)
        for i, layer in enumerate(self.prenet):
            x = F.relu(layer(x)) * prenet_dropout[:, i].to(self.compute)
        attention_hidden, attention_cell = self.attention_rnn(
            torch.cat((x.float(), attention_context), 1), attention_hidden, attention_cell
        )
        query = self.query(attention_hidden.to(self.compute)).float()[:, None, :]  # [B, 1, A]
        location = self.location(torch.stack((attention_weights, attention_weights_cum), 1)).transpose(1, 2)
        # Sums of products, not matrix products of one row: TensorRT fuses those into the kernels around them. The sums
        # run over the last axis, where ONNX Runtime adds in the same order for every batch size.
        energies = (torch.tanh(query + location + processed_memory) * self.energy).sum(2)  # [B, T]
        attention_weights = F.softmax(energies.masked_fill(memory_mask, -torch.inf), dim=1)
        attention_context = (attention_weights[:, None, :] * memory.transpose(1, 2)).sum(2)  # [B, E]
        decoder_hidden, decoder_cell = self.decoder_rnn(
            torch.cat((attention_hidden, attention_context), 1), decoder_hidden, decoder_cell
        )
        mel_and_gate = self.projection(torch.cat((decoder_hidden, attention_context), 1))
        return (
            mel_and_gate[:, :-1],
            mel_and_gate[:, -1:],
            attention_hidden,
            attention_cell,
            decoder_hidden,
            decoder_cell,
            attention_weights,
            attention_weights_cum + attention_weights,
            attention_context,
        )


class PostnetGraph(nn.Module):
    def __init__(self, postnet: Postnet, compute: torch.dtype) -> None:
        super().__init__()
        self.compute = compute
        self.convolutions = nn.ModuleList(
            Conv(*fold_batch_norm(pair), compute) for pair in children(postnet.convolutions, nn.Sequential)
        )

    def forward(self, mel: Tensor, mel_lengths: Tensor) -> Tensor:
        valid = (~padding_mask(mel_lengths, mel.shape[2]))[:, None, :].to(self.compute)
        x = mel.to(self.compute)
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x * valid)
            if i < len(self.convolutions) - 1:
                x = torch.tanh(x)
        return (mel + x.float()) * valid.float()
