"""Names that come from outside: symbols, months and days, made safe for paths and URLs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from urllib.parse import quote, unquote

from ingest.errors import UsageError

_SETTLED = re.compile(r"(SETTLED)+$")
_DELIVERY = re.compile(r"_\d{6}$")


def check_symbol(text: str) -> str:
    """Return the symbol in upper case, or raise UsageError if it could not be one.

    Letters and digits of any script and ``_`` are allowed (some contracts are not ASCII); nothing
    that means something to a path or a URL is.
    """
    symbol = text.strip().upper()
    if not 2 <= len(symbol) <= 64 or not all(c.isalnum() or c == "_" for c in symbol):
        raise UsageError(
            f"{text!r} is not a symbol; give exchange names such as BTCUSDT, separated by commas"
        )
    return symbol


def unknown_symbol(symbol: str, known: Iterable[str], where: str) -> UsageError:
    """The error for a symbol that ``where`` does not have; it names similar ones."""
    near = difflib.get_close_matches(symbol, sorted(known), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "check its spelling"
    return UsageError(f"{where} no contract {symbol}; {hint}")


def encode_symbol(symbol: str) -> str:
    """Symbol as a path or URL component (percent-encoded UTF-8)."""
    return quote(symbol, safe="")


def decode_symbol(component: str) -> str:
    """Inverse of encode_symbol."""
    return unquote(component)


def base_contract(symbol: str) -> str:
    """The name a contract traded under: ``ICPUSDTSETTLED`` is the old ``ICPUSDT``."""
    return _SETTLED.sub("", symbol)


def pair(symbol: str) -> str:
    """The pair behind a contract: ``BTCUSDT_240329`` is quoted against index ``BTCUSDT``."""
    return _DELIVERY.sub("", symbol)


def months(start: date, end: date) -> list[str]:
    """Months (``YYYY-MM``) that touch the days ``start`` to ``end``, both included."""
    count = (end.year - start.year) * 12 + end.month - start.month + 1
    first = start.year * 12 + start.month - 1
    return [f"{m // 12:04d}-{m % 12 + 1:02d}" for m in range(first, first + count)]


def month_bounds(month: str) -> tuple[date, date]:
    """First day of a month and first day of the next."""
    first = date.fromisoformat(f"{month}-01")
    return first, (first + timedelta(days=32)).replace(day=1)


def period_bounds(period: str) -> tuple[date, date]:
    """First day of ``YYYY-MM`` or ``YYYY-MM-DD`` and the first day after it."""
    if len(period) == 7:
        return month_bounds(period)
    day = date.fromisoformat(period)
    return day, day + timedelta(days=1)


def days(period: str) -> Iterator[str]:
    """Days (``YYYY-MM-DD``) of a period."""
    day, end = period_bounds(period)
    while day < end:
        yield day.isoformat()
        day += timedelta(days=1)
