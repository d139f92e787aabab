"""Hashes of byte strings: a fast stable one that decides splits, and a keyed one that hides personal data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.errors import ConfigError

HASH_KEY_VARIABLE = "AIQLEADS_HASH_KEY"
HASH_KEY_FILE_VARIABLE = "AIQLEADS_HASH_KEY_FILE"
HASH_BYTES = 16
MIN_KEY_BYTES = 16

_U64 = np.uint64


def mix64(x: np.ndarray) -> np.ndarray:
    """Bijection of uint64 whose output bits each depend on all input bits (the finalizer of SplitMix64)."""
    x = (x ^ (x >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U64(27))) * _U64(0x94D049BB133111EB)
    return x ^ (x >> _U64(31))


def hash64(values: pa.Array, seed: int = 0) -> np.ndarray:
    """Keyed 64-bit hash of byte strings, uint64 [n]; null hashes like the empty string.

    h = mix(seed + 0x9E3779B97F4A7C15); for each 8 bytes w, little-endian and padded with zeros:
    h = mix(h ^ w) + 0x9E3779B97F4A7C15; finally mix(h ^ length). The same on every machine; not cryptographic.
    """
    array = values.cast(pa.large_binary()) if not pa.types.is_large_binary(values.type) else values
    n = len(array)
    golden = _U64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        h = np.full(n, mix64(np.array([seed], _U64) + golden)[0], _U64)
        if n == 0:
            return h
        _, offset_buffer, data_buffer = array.buffers()
        offsets = np.frombuffer(offset_buffer, np.int64, n + 1, array.offset * 8)
        begin, length = offsets[:-1], np.diff(offsets)
        if array.null_count:
            length = np.where(np.asarray(array.is_valid()), length, 0)
        first, last = int(offsets[0]), int(offsets[-1])
        data = np.zeros(last - first + 8, np.uint8)
        if data_buffer is not None:
            data[: last - first] = np.frombuffer(data_buffer, np.uint8)[first:last]
        # One unaligned little-endian word at every byte offset.
        words = np.ndarray((len(data) - 7,), np.dtype("<u8"), data, strides=(1,))
        rows = np.flatnonzero(length > 0)
        done = 0
        while len(rows):
            left = np.minimum(length[rows] - done, 8).astype(_U64)
            keep = _U64(0xFFFFFFFFFFFFFFFF) >> (_U64(64) - left * _U64(8))
            word = words[begin[rows] - first + done].astype(_U64) & keep
            h[rows] = mix64(h[rows] ^ word) + golden
            done += 8
            rows = rows[length[rows] > done]
        return mix64(h ^ length.astype(_U64))


def uniform(hashes: np.ndarray) -> np.ndarray:
    """float64 [n] in [0, 1) from the top 53 bits."""
    return (hashes >> _U64(11)).astype(np.float64) * 2.0**-53


def personal_key() -> bytes:
    """The secret for hashing personal data, from the environment.

    `AIQLEADS_HASH_KEY` holds it, or `AIQLEADS_HASH_KEY_FILE` names a file that does (one trailing line end is not
    part of the key).

    Raises:
      ConfigError: neither is set, the file cannot be read, or the key is shorter than 16 bytes.
    """
    text = os.environ.get(HASH_KEY_VARIABLE)
    path = os.environ.get(HASH_KEY_FILE_VARIABLE)
    how = [
        f"set {HASH_KEY_VARIABLE}, or {HASH_KEY_FILE_VARIABLE} to a file that only you can read",
        "a good key: openssl rand -hex 32; keep it, the hashes of two runs agree only under the same key",
    ]
    if text:
        key = text.encode()
    elif path:
        try:
            key = Path(path).read_bytes()
        except OSError as e:
            raise ConfigError(f"the key file {path} ({HASH_KEY_FILE_VARIABLE}) cannot be read: {e.strerror}") from e
        key = key.removesuffix(b"\n").removesuffix(b"\r")
    else:
        raise ConfigError("hashing personal data needs a secret key, and there is none", how)
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(f"the key for hashing personal data has {len(key)} bytes, not {MIN_KEY_BYTES} or more", how)
    return hashlib.blake2b(key, digest_size=64, person=b"aiqleads-hash").digest()


def hash_personal(values: pa.Array, key: bytes) -> pa.Array:
    """Keyed BLAKE2b of byte strings: large_binary [n], 32 hexadecimal digits each; null stays null."""
    encoded = pc.dictionary_encode(values)
    hashed = [
        None if v is None else hashlib.blake2b(_bytes(v), digest_size=HASH_BYTES, key=key).hexdigest().encode()
        for v in encoded.dictionary.to_pylist()
    ]
    return pa.array(hashed, pa.large_binary()).take(encoded.indices)


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def key_id(key: bytes) -> str:
    """8 hexadecimal digits that tell keys apart without revealing them."""
    return hashlib.blake2b(b"key id", digest_size=4, key=key).hexdigest()
