"""Packs a decoder step's weights as fused_decoder.cu reads them: every lane's operands of a product side by side."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import BackendError
from .plan import SHARES, Plan, round_up
from .weights import DecoderWeights

Array = NDArray[Any]


def pack(weights: DecoderWeights, plan: Plan) -> NDArray[np.uint8]:
    """Pack the weights, one section after the other. Raises BackendError if half precision cannot hold a weight."""
    w, d = plan.widths, plan.dims
    # The prenet's first layer on a projected frame, as one product of the decoder's hidden state and the context.
    prenet_1 = weights.prenet_1.astype(np.float64)
    frames, frame_bias = weights.projection[:-1].astype(np.float64), weights.projection_bias[:-1].astype(np.float64)
    projection = _pad(np.concatenate((_pad(prenet_1 @ frames, w["P"]), weights.projection)), w["P"] + w["M"])
    projection_bias = np.concatenate((_pad(prenet_1 @ frame_bias, w["P"]), weights.projection_bias))
    attention = _split(weights.attention_rnn, (d["PRENET"], d["ENCODER"], d["ATTENTION_RNN"]))
    decoder = _split(weights.decoder_rnn, (d["ATTENTION_RNN"], d["ENCODER"], d["DECODER_RNN"]))
    hidden, context = _split(projection, (d["DECODER_RNN"], d["ENCODER"]))
    sections = [
        *(_pack_share(plan, share, matrix) for share, matrix in zip(SHARES, attention + decoder, strict=True)),
        _pack_rows(plan, hidden, w["P"] + w["M"], w["RD"]),
        _pack_rows(plan, context, w["P"] + w["M"], w["E"]),
        _pack_rows(plan, weights.prenet_2, w["P"], w["P"]),
        _pack_rows(plan, weights.query, w["A"], w["RA"]),
        _pack_location(plan, weights.location),
        _unit_tile_rows(weights.attention_bias[:, None], w["RA"]).astype(np.float32),
        _unit_tile_rows(weights.decoder_bias[:, None], w["RD"]).astype(np.float32),
        _pad(projection_bias, w["P"] + w["M"]).astype(np.float32),
        _pad(weights.energy, w["A"]).astype(np.float32),
    ]
    packed = np.zeros(plan.section_offsets[-1] + round_up(plan.section_sizes[-1], 256), np.uint8)
    for section, offset, size in zip(sections, plan.section_offsets, plan.section_sizes, strict=True):
        assert section.nbytes == size, (section.shape, size)
        packed[offset : offset + size] = np.ascontiguousarray(section).reshape(-1).view(np.uint8)
    return packed


def _pad(array: Array, *sizes: int) -> Array:
    """Extend an array by zeros to these sizes of its first axes."""
    missing = [(0, size - n) for size, n in zip(sizes, array.shape, strict=False)]
    return np.pad(array, missing + [(0, 0)] * (array.ndim - len(sizes)))


def _split(matrix: Array, widths: tuple[int, ...]) -> list[Array]:
    return np.split(matrix, np.cumsum(widths)[:-1].tolist(), axis=1)


def _halves(array: Array) -> Array:
    with np.errstate(over="ignore"):
        halves: Array = array.astype(np.float16)
    if not np.isfinite(halves).all():
        raise BackendError(
            f"decoder_step: weights up to {np.abs(array).max():.3g} do not fit half precision (65504); "
            "use --decoder engine"
        )
    return halves


def _unit_tile_rows(matrix: Array, width: int) -> Array:
    """Reorder an LSTM's rows [4 R, K] -> [unit tile, unit * 4 + gate, K]."""
    gates = _pad(matrix.reshape(4, -1, matrix.shape[1]).swapaxes(0, 1), width)  # [R, gate, K]
    return gates.reshape(width // 4, 16, -1)


def _lane_columns(k_tiles: int) -> Array:
    """[k tile, quad, 4]: the vector's units that a lane multiplies. Two k tiles share 32 of them, eight a quad."""
    tile, quad, i = np.ogrid[:k_tiles, :4, :4]
    columns: Array = tile // 2 * 32 + quad * 8 + tile % 2 * 4 + i
    return columns


def _by_warp(plan: Plan, matrix: Array, width: int) -> Array:
    """[..., rows, K] -> [..., rows, warp, k tile, quad, 4], zero beyond the matrix."""
    count = plan.k_tiles(width)
    columns = _lane_columns(plan.warps * count)
    padded = np.concatenate((matrix, np.zeros((*matrix.shape[:-1], 1), matrix.dtype)), -1)
    columns = np.where(columns < matrix.shape[-1], columns, matrix.shape[-1])
    return padded[..., columns].reshape(*matrix.shape[:-1], plan.warps, count, 4, 4)


def _pack_share(plan: Plan, share: str, matrix: Array) -> Array:
    """[4 R, K] -> [block, warp, k tile, unit tile, lane, 8 halves]."""
    tiles = _unit_tile_rows(matrix, plan.widths["RA" if share.startswith("att") else "RD"])
    tiles = _by_warp(plan, _halves(tiles), plan.share_widths[share])  # [unit tile, row, warp, k tile, quad, 4]
    tiles = tiles.reshape(len(tiles), 2, 8, *tiles.shape[2:5], 2, 2)  # rows: half, group; columns: half, pair
    tiles = tiles.transpose(0, 3, 4, 2, 5, 6, 1, 7)  # [unit tile, warp, k tile, group, quad, column half, row half, 2]
    starts = [plan.first_unit_tile(share, block) for block in range(plan.blocks + 1)]
    most = plan.unit_tiles(share)
    blocks = [_pad(tiles[start:end], most) for start, end in pairwise(starts)]
    packed: Array = np.stack(blocks).transpose(0, 2, 3, 1, 4, 5, 6, 7, 8)
    return packed


def _pack_rows(plan: Plan, matrix: Array, rows: int, width: int) -> Array:
    """[rows, K] -> [group of eight rows, warp, k tile, lane, 4 halves]."""
    groups = _halves(_pad(matrix, rows)).reshape(rows // 8, 8, -1)
    packed: Array = _by_warp(plan, groups, width).transpose(0, 2, 3, 1, 4, 5)
    return packed


def _pack_location(plan: Plan, location: Array) -> Array:
    """[A, 2, taps] -> [16 of A, k tile, high or low part, lane, 8 halves]."""
    taps = round_up(plan.dims["TAPS"], 16)
    matrix = _pad(location, plan.widths["A"], 2, taps).reshape(-1, 2, 8, 2 * taps // 16, 4, 2, 2)
    high = _halves(matrix)
    low = _halves(matrix - high.astype(np.float32))
    both = np.stack((high, low))  # [part, 16 of A, row half, group, k tile, quad, column half, pair]
    packed: Array = both.transpose(1, 4, 0, 3, 5, 6, 2, 7)
    return packed
