"""Reproducible damage to files, as disks, networks and attackers cause it."""

from __future__ import annotations

import random

# Limits of integers, and bytes that open or end something in a pickle or in JSON.
INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"R",
    b".",
    b"}",
    b'"',
    b"c",
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one to three random changes; never equal to `data`."""
    damaged = data
    while damaged == data:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            damaged = rng.choice(_KINDS)(damaged, rng)
    return damaged


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(INTERESTING) * rng.choice((1, 1, 4)) + data[place:]


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    place, new = rng.randrange(len(data) + 1), rng.choice(INTERESTING)
    return data[:place] + new + data[place + len(new) :]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 8, 512)) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 16, 256))]
    return data[:start] + part + data[start:]


_KINDS = (_cut, _flip, _flip, _insert, _overwrite, _overwrite, _remove, _repeat)
