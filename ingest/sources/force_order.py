"""Forced orders as the exchange pushes them: one message or captured line to one typed row."""

from __future__ import annotations

import contextlib
import json
import math
import re
from datetime import datetime, timedelta
from typing import Any

from ingest.errors import UsageError
from ingest.names import check_symbol

Row = dict[str, Any]  # columns of a lake row, by name

_NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?")
_EPOCH_MS = re.compile(r"\d{13}")
_EPOCH = datetime(1970, 1, 1)
_EPOCH_RANGE = (datetime(2017, 1, 1), datetime(2100, 1, 1))
_NUMBERS = {
    "original_quantity": "q",
    "price": "p",
    "average_price": "ap",
    "last_fill_quantity": "l",
    "accumulated_fill_quantity": "z",
}


class Malformed(ValueError):
    """A message or line that is not a forced order; the text says why."""


def parse_message(message: str | bytes) -> Row | None:
    """Row of a ``!forceOrder@arr`` message, raw or wrapped as ``{"stream", "data"}``.

    Returns:
        Columns of ``stream/liquidations`` except ``receive_time`` and ``connection``; None for an
        order of a coin-margined contract, whose quantities count contracts: since 2026-06-29 the
        stream carries those too. Raises Malformed for anything else.
    """
    try:
        content = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("data"), dict):
        content = content["data"]
    if not isinstance(content, dict) or content.get("e") != "forceOrder":
        raise Malformed("not a forceOrder event")
    order = content.get("o")
    if not isinstance(order, dict):
        raise Malformed("it has no order")
    # Seen in the order as well as beside it; messages from before that date have none.
    market = str(order.get("st", content.get("st", 1)))
    if market not in ("1", "2"):
        raise Malformed(f"unknown market st={market}")
    if market == "2" or str(order.get("s")).partition("_")[0].endswith("USD"):
        return None
    return {"event_time": moment(content.get("E"), "E"), **order_row(order)}


def order_row(order: dict[str, Any], *, average_known: bool = True) -> Row:
    """Columns of one order, from its fields by their one-letter names.

    Args:
        order: ``s S o f q p ap X l z T``; numbers may be text.
        average_known: False if the average price may be missing, as ``None``.

    Raises Malformed, naming the field.
    """
    row: Row = {"contract": _symbol(order.get("s")), "trade_time": moment(order.get("T"), "T")}
    row["side"] = _text(order, "S")
    if row["side"] not in ("BUY", "SELL"):
        raise Malformed(f"S is {row['side']!r}, not BUY or SELL")
    for column, name in (("order_type", "o"), ("time_in_force", "f"), ("order_status", "X")):
        row[column] = _text(order, name)
    for column, name in _NUMBERS.items():
        if name == "ap" and not average_known and order.get(name) in ("None", ""):
            row[column] = None
        else:
            row[column] = number(order.get(name), name)
    return row


def number(value: object, name: str) -> float:
    """A finite number that is not negative. Raises Malformed."""
    text = str(value).strip()
    result = float(text) if _NUMBER.fullmatch(text) and text.isascii() else math.nan
    if not math.isfinite(result):
        raise Malformed(f"{name} is {value!r}, not a number")
    return result


def moment(value: object, name: str) -> datetime:
    """UTC time of epoch milliseconds. Raises Malformed."""
    text = str(value).strip()
    if not _EPOCH_MS.fullmatch(text) or not text.isascii():
        raise Malformed(f"{name} is {value!r}, not a time in epoch milliseconds")
    time = _EPOCH + timedelta(milliseconds=int(text))
    if not _EPOCH_RANGE[0] <= time < _EPOCH_RANGE[1]:
        raise Malformed(f"{name} is {value!r}, which is out of range")
    return time


def _symbol(value: object) -> str:
    text = str(value).strip()
    with contextlib.suppress(UsageError):
        if check_symbol(text) == text:
            return text
    raise Malformed(f"s is {text[:80]!r}, not a symbol")


def _text(order: dict[str, Any], name: str) -> str:
    value = order.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Malformed(f"{name} is {value!r}")
    return value.strip()
