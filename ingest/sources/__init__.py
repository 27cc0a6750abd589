"""Clients of the outside world, one module per source."""
