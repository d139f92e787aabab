"""Text of CSV fields as the rest of ingest expects it: without blanks around it, numbers with a decimal point."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from modules import numerals


def trimmed(column: pa.Array) -> pa.Array:
    """Binary [n], UTF-8, without the blanks and tabs around each value."""
    return pc.ascii_trim(column.cast(pa.large_string()), " \t").cast(pa.large_binary())


def plain_numbers(column: pa.Array, decimal: str, thousands: str | None) -> pa.Array:
    """`numerals.plain_number` of each value: binary [n], UTF-8 -> large_binary [n]."""
    text = column.cast(pa.large_string())
    if thousands is not None:
        grouped = pc.match_substring_regex(text, numerals.with_groups(decimal, thousands))
        text = pc.if_else(grouped, pc.replace_substring(text, thousands, ""), text)
    if decimal != ".":
        number = pc.match_substring_regex(text, numerals.with_decimal(decimal))
        pointed = pc.match_substring_regex(text, numerals.POINTED)
        marked = pc.if_else(pointed, pc.replace_substring(text, ".", numerals.MARK), text)
        text = pc.if_else(number, pc.replace_substring(text, decimal, "."), marked)
    return text.cast(pa.large_binary())
