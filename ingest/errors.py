"""Errors that reach the user. Each says what happened, to what, and what to do next."""

from __future__ import annotations


class PerpError(Exception):
    """Work that could not be done (exit code 1)."""


class UsageError(PerpError):
    """A request that cannot be carried out as asked (exit code 2)."""


class Quarantine(Exception):
    """An upstream file whose bytes cannot be trusted; the text says what is wrong with it."""
