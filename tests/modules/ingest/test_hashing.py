import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from modules.ingest.hashing import hash64, mix64, uniform

GOLDEN, MASK = 0x9E3779B97F4A7C15, 2**64 - 1


def plain_hash(value: bytes, seed: int) -> int:
    """The definition, one value at a time, in Python's integers."""

    def mix(x: int) -> int:
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
        return x ^ x >> 31

    h = mix((seed + GOLDEN) & MASK)
    for i in range(0, len(value), 8):
        h = (mix(h ^ int.from_bytes(value[i : i + 8], "little")) + GOLDEN) & MASK
    return mix(h ^ len(value))


@given(st.lists(st.one_of(st.none(), st.binary(max_size=40)), max_size=20), st.integers(0, 2**32), st.integers(0, 5))
def test_the_vectorised_hash_is_the_defined_one(values, seed, skip):
    array = pa.array(values, pa.large_binary())[skip:]
    assert hash64(array, seed).tolist() == [plain_hash(v or b"", seed) for v in values[skip:]]


def test_the_hash_never_changes():
    assert hash64(pa.array([b"lead-1"]), 0).tolist() == [plain_hash(b"lead-1", 0)]
    # The first output of SplitMix64 with seed 0, as published.
    assert mix64(np.array([GOLDEN], np.uint64)).tolist() == [0xE220A8397B1DCDAF]


def test_consecutive_ids_spread_evenly():
    share = uniform(hash64(pa.array([f"lead-{i}" for i in range(100_000)])))
    counts = np.histogram(share, bins=100, range=(0, 1))[0]
    chi_squared = ((counts - 1000) ** 2 / 1000).sum()
    assert 50 < chi_squared < 160  # 99 degrees of freedom: outside in one of 10,000 draws


def test_another_seed_is_another_draw():
    ids = pa.array([f"lead-{i}" for i in range(20_000)])
    a, b = uniform(hash64(ids, 0)), uniform(hash64(ids, 1))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
