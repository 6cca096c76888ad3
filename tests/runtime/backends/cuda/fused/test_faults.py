"""Faults planted in fused_decoder.cu: each must be found by the emulation within 24 schedules."""

from __future__ import annotations

import pytest

from tacoglow.runtime.backends.cuda.fused.kernel import source

from .cases import Case, same
from .emulated import EmulatedDecoder, EmulationError, build
from .model import Decoded

pytestmark = pytest.mark.builds

SCHEDULES = 24
SOURCE = source()
GRID_BARRIER = "wait_for_all_blocks(exchange, barriers);"
# Source whose grid barriers can be left out one by one, as block barriers can.
REMOVABLE = SOURCE.replace(GRID_BARRIER, f"if (__LINE__ != emulation::missing_line) {GRID_BARRIER}")


def lines_of(text: str) -> list[int]:
    return [i for i, line in enumerate(SOURCE.splitlines(), 1) if line.strip() == text]


IN_GRID_BARRIER = [
    line
    for line in lines_of("__syncthreads();")
    if SOURCE[: SOURCE.index("This warp's slice of a vector")].count("\n") > line
]
BLOCK_BARRIERS = [line for line in lines_of("__syncthreads();") if line not in IN_GRID_BARRIER]


def replaced(old: str, new: str) -> str:
    assert old in SOURCE, old
    return SOURCE.replace(old, new)


def earlier(line: str, before: str) -> str:
    assert SOURCE.count(line) == 1
    assert SOURCE.count(before) == 1
    return SOURCE.replace(line, "").replace(before, line + before)


PUBLICATION = "  decoder_units.load(decoder_cell, decoder_hidden, DECODER_RNN, exchange.decoder_hidden, tag_of(0));\n"
FAULTS = {
    "vectors are not waited for": replaced("while (is_missing(missing, TAGS));", "while (false);"),
    "energies are not waited for": replaced("while (is_missing(missing, 1));", "while (false);"),
    "the query is not waited for": replaced("| (query.w ^ tag), 1));", "| (query.w ^ tag), 0));"),
    "half of what is loaded is waited for": replaced(
        "(both.x ^ expected) | (both.y ^ expected) | (both.z ^ expected) | (both.w ^ expected)",
        "(both.x ^ expected) | (both.y ^ expected)",
    ),
    "one of two neighbours is waited for": replaced(
        "constexpr u32 TAGS = 0x00010001u << BIT;", "constexpr u32 TAGS = 1u << BIT;"
    ),
    "hidden states have the tag of their step": replaced(
        "exchange.attention_hidden, next_tag", "exchange.attention_hidden, tag"
    ),
    "round 1 can be made before round 0 is read": earlier(PUBLICATION, "  attention_units.load("),
    "every launch has the same exchange": replaced("workspace->sets[launches & 1]", "workspace->sets[0]"),
    "the next exchange is not cleared": replaced("next_exchange[i] = 0;", "(void)next_exchange[i];"),
    "dropout is that of the step before": replaced("(item) + next, DROPOUT", "(item) + next - 1, DROPOUT"),
}
BARRIER_FAULTS = {
    "an arrival releases nothing": replaced("release_add_one(&exchange.arrivals);", "exchange.arrivals += 1;"),
    "a block leaves before the last has come": replaced("barriers * BLOCKS) poll", "barriers * BLOCKS - 1) poll"),
}


@pytest.fixture(scope="module")
def case() -> Case:
    return Case.random()


def is_found(case: Case, grid_barriers: bool, source: str, missing_line: int = 0, schedules: int = SCHEDULES) -> bool:
    """True if three launches fail, or differ from those of the right kernel, under one of the schedules."""

    def launches(text: str | None, seed: int, line: int) -> list[Decoded]:
        plan = case.plan()
        library = build(plan, grid_barriers, text)
        library.remove_line(line)
        keys = [(1, 0), (2, 0), (3, 0)]
        decoder = EmulatedDecoder(library, plan, case.weights, case.encoded, case.state, keys)
        made = [decoder.launch(2, first, seed=seed) for first in (0, 2, 4)]
        state = {name: array.copy() for name, array in decoder.state.items()}
        return [Decoded(part.mel, part.gate_logits, part.alignments, state) for part in made]

    right = launches(None, 0, 0)
    for seed in range(schedules):
        try:
            faulty = launches(source, seed, missing_line)
        except EmulationError:
            return True
        if not all(same(made, expected) for made, expected in zip(faulty, right, strict=True)):
            return True
    return False


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(case: Case, fault: str) -> None:
    assert is_found(case, False, FAULTS[fault])


def test_a_missing_block_barrier_is_found(case: Case) -> None:
    assert len(BLOCK_BARRIERS) >= 5
    assert [line for line in BLOCK_BARRIERS if not is_found(case, False, SOURCE, line)] == []


@pytest.mark.parametrize("fault", BARRIER_FAULTS)
def test_a_planted_fault_of_the_grid_barrier_is_found(case: Case, fault: str) -> None:
    assert is_found(case, True, BARRIER_FAULTS[fault])


def test_a_missing_grid_barrier_is_found(case: Case) -> None:
    lines = [*IN_GRID_BARRIER, *lines_of(GRID_BARRIER)]
    assert len(lines) == 2 + 8  # one before each of seven exchanges, and one in the prologue
    assert [line for line in lines if not is_found(case, True, REMOVABLE, line)] == []


def test_nothing_is_found_without_a_fault(case: Case) -> None:
    assert not is_found(case, False, SOURCE, schedules=4)
    assert not is_found(case, True, REMOVABLE, schedules=4)
