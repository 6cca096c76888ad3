"""Compares the noise with Philox as written in its paper, and windows of noise with each other."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.noise import DROPOUT_STREAM, Z_STREAM, Noise, PrefetchedNoise

MASK = 2**64 - 1
seeds = st.integers(0, MASK)


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox 4x64-10 as defined by Salmon et al., in Python integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2E7470EE14C6C93, c2 * 0xCA5A826395121157
        c0, c1, c2, c3 = (p1 >> 64) ^ c1 ^ k0, p1 & MASK, (p0 >> 64) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


@given(seeds, st.integers(0, 2**40), st.integers(0, 1), st.integers(0, 2**50))
def test_words_equal_philox_of_seed_and_position(seed: int, utterance: int, stream: int, block: int) -> None:
    expected = philox((block + 1, stream, 0, 0), (seed, utterance))
    assert tuple(int(word) for word in Noise(seed, utterance).words(stream, block, 1)) == expected


def test_philox_published_vector() -> None:
    """Random123's known answer for an all-zero counter and key."""
    assert philox((0, 0, 0, 0), (0, 0)) == (
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    )


def test_dropout_bits_are_units_in_order() -> None:
    layers, width, frame = 2, 100, 7  # 200 bits of a block of 256
    words = philox((frame + 1, DROPOUT_STREAM, 0, 0), (3, 0))
    bits = [words[i // 64] >> (i % 64) & 1 for i in range(layers * width)]
    expected = 2.0 * np.array(bits, np.float32).reshape(1, layers, width)
    np.testing.assert_array_equal(Noise(3).prenet_dropout(frame, 1, layers, width), expected)


def test_z_is_box_muller_transform() -> None:
    group_size, group = 6, 11  # two blocks per group; the last two words are unused
    words = [w for block in (22, 23) for w in philox((block + 1, Z_STREAM, 0, 0), (5, 2))]
    uniform = [(word >> 11) * 2.0**-53 for word in words]
    expected = []
    for first, second in zip(uniform[::2], uniform[1::2], strict=True):
        radius = math.sqrt(-2.0 * math.log1p(-first))
        expected += [radius * math.cos(2 * math.pi * second), radius * math.sin(2 * math.pi * second)]
    np.testing.assert_allclose(Noise(5, 2).z(group, 1, group_size)[:, 0], expected[:group_size], rtol=1e-6)


@given(seeds, st.integers(0, 300), st.integers(1, 40))
def test_window_equals_part_of_complete_noise(seed: int, first: int, size: int) -> None:
    noise = Noise(seed)
    whole = noise.z(0, first + size, 8)
    np.testing.assert_array_equal(noise.z(first, size, 8), whole[:, first:])
    whole_dropout = noise.prenet_dropout(0, first + size, 2, 128)
    np.testing.assert_array_equal(noise.prenet_dropout(first, size, 2, 128), whole_dropout[first:])


@given(seeds, st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 5000)), min_size=1, max_size=3))
@settings(deadline=None, max_examples=20)
def test_prefetched_noise_equals_noise(seed: int, windows: list[tuple[int, int]]) -> None:
    """Windows inside the prefetched part, across its end, and after the limit."""
    with ThreadPoolExecutor(1) as executor:
        prefetched = PrefetchedNoise(Noise(seed, 3), 8, 7000, executor)
        for first, size in windows:
            np.testing.assert_array_equal(prefetched.z(first, size, 8), Noise(seed, 3).z(first, size, 8))


def test_noise_distributions() -> None:
    noise = Noise(0)
    z = noise.z(0, 50_000, 8).astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1.0) < 4 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3.0) < 4 * math.sqrt(96 / n)
    dropout = noise.prenet_dropout(0, 2000, 2, 256)
    assert set(np.unique(dropout)) == {0.0, 2.0}
    assert abs(dropout.mean() - 1.0) < 4 / math.sqrt(dropout.size)


def test_seeds_and_utterances_differ() -> None:
    draws = [Noise(seed, utterance).z(0, 4, 8).tobytes() for seed in range(4) for utterance in range(4)]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_rejected(seed: int) -> None:
    with pytest.raises(RequestError, match="seed: expected an integer from 0"):
        Noise(seed)
