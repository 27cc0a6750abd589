"""Ingestors of the perp warehouse: the only code that touches the outside world."""
