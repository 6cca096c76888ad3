"""The exchange protocol on a small instance, over every order in which its loads and stores can take effect.

Three blocks exchange two vectors a round, as they do hidden states: each block owns one value of each. A block's
operations run in its program's order, a poll is over once it has read the expected tag, and a store takes effect at any
time later, in any order but that of stores to the same place: more than the hardware does. Values carry the number of
their round (their turn), which a real reader cannot see; a poll must never accept a value of another round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCKS = 3
ROUNDS = 3
X, Y = "x", "y"  # the two vectors


class Operation(NamedTuple):
    kind: str  # "store" or "poll"
    place: tuple[str, int]  # vector, block that owns the value
    turn: int


Program = list[Operation]


def receive(vector: str, turn: int) -> Program:
    return [Operation("poll", (vector, owner), turn) for owner in range(BLOCKS)]


def publish(vector: str, block: int, turn: int) -> Program:
    return [Operation("store", (vector, block), turn)]


def protocol(block: int) -> Program:
    """Round after round: all of x makes y, all of y makes the next x. x of round 0 is what the launch begins with."""
    program = publish(X, block, 0)
    for turn in range(ROUNDS):
        program += receive(X, turn) + publish(Y, block, turn) + receive(Y, turn) + publish(X, block, turn + 1)
    return program


def read_after_publication(block: int) -> Program:
    """Block 2 tells the others to go on before it has read what they go on to overwrite."""
    if block != 2:
        return protocol(block)
    program = publish(X, block, 0)
    for turn in range(ROUNDS):
        program += publish(Y, block, turn) + receive(X, turn) + receive(Y, turn) + publish(X, block, turn + 1)
    return program


def owns_nothing(block: int) -> Program:
    """Block 2 only reads x: nobody waits for it."""
    if block == 2:
        return [operation for turn in range(ROUNDS) for operation in receive(X, turn) if operation.place[1] != 2]
    return [operation for operation in protocol(block) if operation.place[1] != 2]


class State(NamedTuple):
    counters: tuple[int, ...]  # of each block: operations done
    memory: tuple[tuple[tuple[str, int], int], ...]  # place -> round of the value that is there; absent: the zeros
    pending: tuple[Operation, ...]  # stores under way


def tag(turn: int) -> int:
    return ~turn & 1


def successors(state: State, programs: list[Program]) -> Iterator[State]:
    """Raises AssertionError where a poll accepts a value of another round."""
    memory = dict(state.memory)
    for block, program in enumerate(programs):
        done = state.counters[block]
        if done == len(program):
            continue
        operation = program[done]
        counters = (*state.counters[:block], done + 1, *state.counters[block + 1 :])
        if operation.kind == "store":
            yield State(counters, state.memory, (*state.pending, operation))
            continue
        seen = memory.get(operation.place)
        if (0 if seen is None else tag(seen)) == tag(operation.turn):
            assert seen == operation.turn, f"round {operation.turn} of {operation.place} was taken from round {seen}"
            yield State(counters, state.memory, state.pending)
    for i, store in enumerate(state.pending):
        if store.place not in [before.place for before in state.pending[:i]]:
            changed = tuple(sorted({**memory, store.place: store.turn}.items()))
            yield State(state.counters, changed, state.pending[:i] + state.pending[i + 1 :])


def check(program: Callable[[int], Program]) -> int:
    """The number of states. Raises AssertionError for a wrong value or a deadlock."""
    programs = [program(block) for block in range(BLOCKS)]
    start = State((0,) * BLOCKS, (), ())
    reached, frontier = {start}, [start]
    while frontier:
        state = frontier.pop()
        following = list(successors(state, programs))
        is_over = all(done == len(each) for done, each in zip(state.counters, programs, strict=True))
        assert following or is_over, f"deadlock: {state}"
        for each in following:
            if each not in reached:
                reached.add(each)
                frontier.append(each)
    return len(reached)


def fails(program: Callable[[int], Program]) -> bool:
    try:
        check(program)
    except AssertionError:
        return True
    return False


def test_no_order_takes_a_value_of_another_round() -> None:
    assert check(protocol) > 1000


def test_wrong_protocols_are_found() -> None:
    assert fails(read_after_publication)
    assert fails(owns_nothing)
