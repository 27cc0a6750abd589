"""Spans of time that a source has answered for: what the landing log calls coverage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

Span = tuple[datetime, datetime]  # [from, to), naive UTC


def union_spans(spans: Iterable[Span]) -> list[Span]:
    """The same moments as few spans in order."""
    result: list[Span] = []
    for start, end in sorted(s for s in spans if s[0] < s[1]):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(result[-1][1], end)
        else:
            result.append((start, end))
    return result


def without(spans: Iterable[Span], removed: Iterable[Span]) -> list[Span]:
    """What of the spans lies outside the others."""
    left = union_spans(spans)
    for start, end in union_spans(removed):
        left = [
            piece
            for a, b in left
            for piece in ((a, min(b, start)), (max(a, end), b))
            if piece[0] < piece[1]
        ]
    return left


def clip(spans: Iterable[Span], start: datetime, end: datetime) -> list[Span]:
    """What of the spans lies in [start, end)."""
    return union_spans((max(a, start), min(b, end)) for a, b in spans)


def to_log(spans: Sequence[Span]) -> list[tuple[str, str]]:
    """Spans as the landing log writes them."""
    return [(a.isoformat(), b.isoformat()) for a, b in spans]


def from_log(covered: Sequence[Sequence[str]]) -> list[Span]:
    """Inverse of ``to_log``."""
    return [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in covered]


def by_month(spans: Iterable[Span]) -> dict[str, list[Span]]:
    """Spans cut at month ends, by month (``YYYY-MM``)."""
    result: dict[str, list[Span]] = {}
    for start, end in union_spans(spans):
        while start < end:
            following = (start.replace(day=1) + timedelta(days=32)).replace(
                day=1, hour=0, minute=0, second=0, microsecond=0
            )
            result.setdefault(f"{start:%Y-%m}", []).append((start, min(end, following)))
            start = following
    return result
