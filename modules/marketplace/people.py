"""Personal data of invented people: names, addresses under reserved domains, fictional telephone numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FIRST = (
    "Olivia", "Liam", "Emma", "Noah", "Ava", "James", "Sophia", "Lucas", "Mia", "Ethan", "Isabella", "Mason",
    "Amelia", "Logan", "Harper", "Elijah", "Evelyn", "Aiden", "Abigail", "Jack", "Ella", "Owen", "Grace", "Wyatt",
    "Chloe", "Henry", "Zoë", "José", "Sofía", "André", "Renée", "Björn", "María", "Luis", "Priya", "Wei", "Fatima",
    "Omar",
)  # fmt: skip
_LAST = (
    "Smith", "Johnson", "Williams", "Brown", "Jones", "Garcia", "Miller", "Davis", "Rodriguez", "Martinez",
    "Hernandez", "Lopez", "Gonzalez", "Wilson", "Anderson", "Thomas", "Taylor", "Moore", "Jackson", "Martin", "Lee",
    "Perez", "Thompson", "White", "Harris", "Sanchez", "Clark", "Ramirez", "Lewis", "Robinson", "Walker", "Young",
    "Allen", "King", "Wright", "Müller", "Núñez", "O'Brien", "Nguyen", "Patel", "Kim", "Cohen", "Kowalski", "Rossi",
    "Silva", "Ivanov", "Haddad", "Okafor",
)  # fmt: skip
_DOMAINS = ("example.com", "example.org", "example.net")
_AREAS = ("213", "305", "312", "404", "480", "512", "617", "704", "206", "303", "212", "201")


def _ascii(name: str) -> str:
    plain = name.lower().replace("'", "")
    return plain.translate(str.maketrans("ëéíáöüñú", "eeiaounu"))


def people(n: int, rng: np.random.Generator) -> tuple[pa.StringArray, pa.StringArray, pa.StringArray]:
    """Names, e-mail addresses and telephone numbers of n people, string [n] each."""
    first = pa.array(rng.integers(0, len(_FIRST), n))
    last = pa.array(rng.integers(0, len(_LAST), n))
    number = pc.cast(pa.array(rng.integers(1, 1000, n)), pa.string())
    name = pc.binary_join_element_wise(pa.array(_FIRST).take(first), pa.array(_LAST).take(last), " ")
    domains = pa.array([f"@{domain}" for domain in _DOMAINS])
    email = pc.binary_join_element_wise(
        pa.array([f"{_ascii(x)}." for x in _FIRST]).take(first),
        pa.array([_ascii(x) for x in _LAST]).take(last),
        number,
        domains.take(pa.array(rng.integers(0, len(_DOMAINS), n))),
        "",
    )
    areas = pa.array([f"+1-{area}-555-" for area in _AREAS])
    lines = pa.array([f"01{line:02d}" for line in range(100)])
    phone = pc.binary_join_element_wise(
        areas.take(pa.array(rng.integers(0, len(_AREAS), n))), lines.take(pa.array(rng.integers(0, 100, n))), ""
    )
    return name, email, phone
