"""Quantities as Kubernetes writes them: ``500m``, ``2``, ``4Gi``. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_QUANTITY: Final = re.compile(
    r"([+-]?(?:\d{1,30}(?:\.\d{0,18})?|\.\d{1,18}))(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?\d{1,2}))?",
    re.ASCII,
)
_FACTOR: Final = {
    **{unit: Decimal(1024) ** (at + 1) for at, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))},
    **{unit: Decimal(1000) ** (at + 1) for at, unit in enumerate(("k", "M", "G", "T", "P", "E"))},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}


def quantity(value: object) -> Decimal:
    """The number that a quantity stands for.

    >>> quantity("4Gi"), quantity("500m"), quantity(2)
    (Decimal('4294967296'), Decimal('0.500'), Decimal('2'))

    :raises ValueError: not a quantity, or a negative one.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = str(value).strip() if number or isinstance(value, str) else ""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{str(value)[:40]!r} is no quantity: write 500m, 2 or 4Gi")
    found = Decimal(match[1]) * _FACTOR.get(match[2] or "", Decimal(1)) * Decimal(10) ** int(match[3] or 0)
    if found < 0:
        raise ValueError(f"{text[:40]!r} is less than 0")
    return found
