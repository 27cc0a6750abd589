"""The default universe: a dbt seed that ingest and SQL share."""

from __future__ import annotations

import csv

from ingest.config import PROJECT_ROOT

SEED = PROJECT_ROOT / "dbt_project" / "seeds" / "universe.csv"


def default_symbols() -> list[str]:
    """Symbols of the seed that are in the universe, in its order."""
    with SEED.open(newline="", encoding="utf-8") as handle:
        return [row["symbol"] for row in csv.DictReader(handle) if row["in_universe"] == "true"]
