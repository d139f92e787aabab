"""A table of leads as it might come out of somebody's database: nothing about it was made for this project."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import numpy as np

HEADER = ("", "Kunden-ID", "Erstellt am", "Letzter Besuch", "Umsatz (€)", "PLZ", "Quelle / Kanal", "E-Mail", "Telefon",
          "Nachricht", "Land", "Größe %", "Alter", "Gewonnen?", "leer", "Gutschein")  # fmt: skip
WORDS = ("Angebot", "bitte", "Preis", "schnell", "Rückruf", "morgen", "danke", "Firma", "Auto", "Haus")


def write_own_leads(path: Path, rows: int, seed: int = 0) -> None:
    """Semicolons, decimal commas, dates of two kinds, blanks in names, columns about persons, a useless few.

    Leads that visited lately, came by recommendation or on a Monday or Tuesday convert more often.
    """
    rng = np.random.default_rng(seed)
    days = rng.exponential(20, rows)
    value = rng.lognormal(7, 1, rows)
    source = rng.choice(["Web", "Messe", "Telefon", "Empfehlung"], rows)
    created = [dt.datetime(2023, 1, 2, 8) + dt.timedelta(minutes=37 * i + int(rng.integers(30))) for i in range(rows)]
    weekday = np.array([t.weekday() for t in created])
    margin = 0.4 + 1.2 * (source == "Empfehlung") - 0.09 * days + 0.5 * (np.log(value) - 7) + (weekday < 2)
    won = rng.random(rows) < 1 / (1 + np.exp(-margin))
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        out = csv.writer(file, delimiter=";")
        out.writerow(HEADER)
        for i, at in enumerate(created):
            seen = at - dt.timedelta(days=float(days[i]))
            out.writerow([
                i, f"K-{100000 + i}", f"{at:%d.%m.%Y %H:%M}", "" if rng.random() < 0.1 else f"{seen:%d.%m.%Y}",
                f"{value[i]:,.2f}".translate(str.maketrans(",.", ".,")), f"{rng.integers(1000, 99999):05d}", source[i],
                f"p{i}@example.org", f"+49 30 {rng.integers(10**6, 10**7)}",
                " ".join(rng.choice(WORDS, rng.integers(4, 15))), "DE", f"{rng.normal(50, 10):.1f}".replace(".", ","),
                "k.A." if rng.random() < 0.03 else rng.integers(18, 80), "ja" if won[i] else "nein", "",
                rng.choice(["", "A", "B"]),
            ])  # fmt: skip
