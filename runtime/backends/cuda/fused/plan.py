"""How the fused decoder lies on a GPU: its blocks, where the weights live, and every size that both sides know.

Dimension letters as in fused_decoder.cu. A k tile is 16 columns of a matrix; a unit tile is the four gates of four LSTM
units; a share is the part of an LSTM's matrix that meets one vector.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ....errors import BackendError
from .weights import DecoderWeights

WARPS = 16  # warps per block
MAX_BATCH = 8  # columns of a tensor core's product
TOKEN_BLOCK = 128  # a warp takes 128 energies at a time
MAX_BOUNDED_ENERGY = 80.0  # exp(-80) and 512 exp(80) are float32 numbers far from its ends
SHARES = ("att_prenet", "att_context", "att_hidden", "dec_attention", "dec_context", "dec_hidden")
# Whose tiles are placed first: in registers what the chain waits for, in shared memory what is read in a busy gap.
HELD_FIRST = ("att_prenet", "dec_context", "att_context", "dec_attention", "att_hidden", "dec_hidden")
SHARED_FIRST = ("att_prenet", "dec_context", "dec_attention", "dec_hidden", "att_hidden", "att_context")
TILE_BYTES = 512  # bytes of one k tile of one unit tile
LANES = 32


def ceil_div(n: int, by: int) -> int:
    return -(-n // by)


def round_up(n: int, multiple: int) -> int:
    return ceil_div(n, multiple) * multiple


@dataclass(frozen=True)
class GpuLimits:
    """The limits that a plan must fit into."""

    blocks: int  # that can be resident at once, one per multiprocessor
    shared_bytes: int  # that a block may have


@dataclass(frozen=True)
class Plan:
    """The layout of a decoder over a GPU, for one batch size and a token limit."""

    dims: dict[str, int]
    batch: int
    tokens: int
    blocks: int
    warps: int
    bounded_energies: bool
    held: dict[str, int] = dataclasses.field(default_factory=dict)  # k tiles of a warp in registers, by share
    shared: dict[str, int] = dataclasses.field(default_factory=dict)  # in shared memory

    @property
    def threads(self) -> int:
        return self.warps * LANES

    # Padded widths, and what the kernel derives from them.
    @property
    def widths(self) -> dict[str, int]:
        d = self.dims
        return {
            "M": round_up(d["MEL"] + 1, 8),
            "P": round_up(d["PRENET"], 32),
            "E": round_up(d["ENCODER"], 32),
            "A": round_up(d["ATTENTION"], 128),
            "RA": round_up(d["ATTENTION_RNN"], 32),
            "RD": round_up(d["DECODER_RNN"], 32),
        }

    @property
    def share_widths(self) -> dict[str, int]:
        w = self.widths
        return dict(zip(SHARES, (w["P"], w["E"], w["RA"], w["RA"], w["E"], w["RD"]), strict=True))

    def k_tiles(self, width: int) -> int:
        """Of one warp."""
        return ceil_div(width // 16, self.warps)

    def unit_tiles(self, share: str) -> int:
        """Of one block, at most."""
        return ceil_div(self._lstm_width(share) // 4, self.blocks)

    def first_unit_tile(self, share: str, block: int) -> int:
        return block * (self._lstm_width(share) // 4) // self.blocks

    def _lstm_width(self, share: str) -> int:
        return self.widths["RA" if share.startswith("att") else "RD"]

    @property
    def row_slots(self) -> int:
        w = self.widths
        groups = (w["P"] // 8 + w["M"] // 8, w["P"] // 8, w["A"] // 8)
        return max(ceil_div(count, self.blocks) for count in groups)

    @property
    def token_tile_slots(self) -> int:
        return ceil_div(self.batch * self.tokens // 8, self.blocks)

    @property
    def shared_bytes(self) -> int:
        """Size of the kernel's Shared."""
        w, items = self.widths, round_up(self.batch, 2)
        context_slots = ceil_div(w["E"] // 4, self.blocks)
        lstm_rows = 16 * max(self.unit_tiles("att"), self.unit_tiles("dec"))
        window = 8 + 16 * ceil_div(self.dims["TAPS"], 16)
        count = sum(n * self.unit_tiles(share) for share, n in self.shared.items())
        return _struct_size(
            (self.warps * max(count, 1) * TILE_BYTES, 16),  # weights
            (context_slots * self.batch * self.tokens * 8, 16),  # columns
            (self.token_tile_slots * 8 * (w["A"] + 4) * 4, 16),  # feature
            (self.warps * lstm_rows * items * 4, 16),  # lstm
            (2 * self.row_slots * self.warps * 8 * items * 4, 16),  # rows
            (context_slots * self.batch * 16, 16),  # context
            (2 * lstm_rows * 4, 4),  # bias
            (self.token_tile_slots * 2 * window * 4, 4),  # window
            (self.batch * 4, 4),  # length
            (4, 4),  # stop
        )

    @property
    def workspace_bytes(self) -> int:
        """Size of the kernel's Workspace: two sets of exchange buffers and the count of launches."""
        w, batch = self.widths, self.batch
        vectors = [(w[name] * batch * 2, 16) for name in ("P", "P", "RA", "E", "RD")]
        exchange = _struct_size(*vectors, (batch * w["A"] * 4, 16), (batch * self.tokens * 4, 16), (4, 16), (4, 4))
        return _struct_size((2 * exchange, 16), (4, 16))

    @property
    def section_sizes(self) -> list[int]:
        """Bytes of the packed weights, in the order of the kernel's Section."""
        w, warps = self.widths, self.warps
        projection = w["P"] // 8 + w["M"] // 8
        shares = [
            self.blocks * warps * self.k_tiles(width) * self.unit_tiles(share) * TILE_BYTES
            for share, width in self.share_widths.items()
        ]
        return [
            *shares,
            projection * warps * self.k_tiles(w["RD"]) * 256,
            projection * warps * self.k_tiles(w["E"]) * 256,
            w["P"] // 8 * warps * self.k_tiles(w["P"]) * 256,
            w["A"] // 8 * warps * self.k_tiles(w["RA"]) * 256,
            w["A"] // 16 * 2 * ceil_div(self.dims["TAPS"], 16) * 2 * TILE_BYTES,  # location
            w["RA"] * 16,
            w["RD"] * 16,
            projection * 32,
            w["A"] * 4,
        ]

    @property
    def section_offsets(self) -> list[int]:
        return [0, *np.cumsum([round_up(size, 256) for size in self.section_sizes])[:-1].tolist()]

    @property
    def defines(self) -> dict[str, str]:
        """The constants to compile fused_decoder.cu with."""
        return {
            **{name: str(size) for name, size in self.dims.items()},
            "BATCH": str(self.batch),
            "TOKENS": str(self.tokens),
            "BLOCKS": str(self.blocks),
            "WARPS": str(self.warps),
            "HELD": ",".join(str(self.held.get(share, 0)) for share in SHARES),
            "SHARED": ",".join(str(self.shared.get(share, 0)) for share in SHARES),
            "SECTION_OFFSETS": ",".join(map(str, self.section_offsets)),
            "SHARED_BYTES": str(self.shared_bytes),
            "WORKSPACE_BYTES": str(self.workspace_bytes),
            "BOUNDED_ENERGIES": str(int(self.bounded_energies)),
        }

    @property
    def header(self) -> str:
        """`defines` as C text, to stand before fused_decoder.cu."""
        return "".join(f"#define {name} {value}\n" for name, value in self.defines.items())

    @property
    def streamed_bytes(self) -> int:
        """LSTM weights that a block reads from the L2 cache in each step."""
        tiles = (
            (self.k_tiles(width) - self.held.get(share, 0) - self.shared.get(share, 0)) * self.unit_tiles(share)
            for share, width in self.share_widths.items()
        )
        return self.warps * TILE_BYTES * sum(tiles)


def _struct_size(*members: tuple[int, int]) -> int:
    """Compute the bytes of a C struct whose members have these (bytes, alignment)."""
    end = 0
    for size, alignment in members:
        end = round_up(end, alignment) + size
    return round_up(end, max(alignment for _, alignment in members))


def make_plan(
    weights: DecoderWeights, gpu: GpuLimits, batch: int, tokens: int, warps: int = WARPS, held_registers: int = 40
) -> Plan:
    """Make the plan that holds all weights on the chip in the fewest registers per thread, at most held_registers.

    Raises BackendError if it does not fit the GPU.
    """
    d = weights.dims
    units = min(round_up(d["ATTENTION_RNN"], 32), round_up(d["DECODER_RNN"], 32)) // 4
    blocks = ceil_div(units, ceil_div(units, min(gpu.blocks, units)))  # no fewer units a block than that many need
    bounded = bool(np.abs(weights.energy).sum() <= MAX_BOUNDED_ENERGY)
    plan = Plan(d, batch, round_up(tokens, TOKEN_BLOCK), blocks, warps, bounded)
    if plan.shared_bytes > gpu.shared_bytes:
        raise BackendError(
            f"decoder_step: the fused decoder needs {plan.shared_bytes} bytes of shared memory for a batch of {batch} "
            f"with {tokens} tokens, this GPU has {gpu.shared_bytes}; use --decoder engine"
        )
    critical = 4 * (
        plan.k_tiles(plan.widths["P"]) * plan.unit_tiles("att")
        + plan.k_tiles(plan.widths["E"]) * plan.unit_tiles("dec")
    )
    for registers in range(min(critical, held_registers), held_registers + 1, 4):
        placed = _place(plan, gpu, registers)
        if placed.streamed_bytes == 0:
            break
    return placed


def _place(plan: Plan, gpu: GpuLimits, held_registers: int) -> Plan:
    left = {share: plan.k_tiles(width) for share, width in plan.share_widths.items()}
    held, shared = dict.fromkeys(SHARES, 0), dict.fromkeys(SHARES, 0)
    registers = 0
    for share in HELD_FIRST:
        while left[share] and registers + 4 * plan.unit_tiles(share) <= held_registers:
            held[share], left[share] = held[share] + 1, left[share] - 1
            registers += 4 * plan.unit_tiles(share)
    for share in SHARED_FIRST:
        while left[share]:
            more = dataclasses.replace(plan, held=held, shared={**shared, share: shared[share] + 1})
            if more.shared_bytes > gpu.shared_bytes:
                break
            shared, left[share] = dict(more.shared), left[share] - 1
    return dataclasses.replace(plan, held=held, shared=shared)
