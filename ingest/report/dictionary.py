"""What each column means and which family it belongs to, as the dbt project says it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ingest.config import PROJECT_ROOT
from ingest.report.reader import Reader

MARTS = PROJECT_ROOT / "dbt_project/models/marts"
DOCS = PROJECT_ROOT / "dbt_project/docs"
KEYS = ("symbol", "hour_ts", "bar_end_time", "feature_time", "has_bar", "listing_segment")
_BLOCK = re.compile(r"{%-?\s*docs\s+(\w+)\s*-?%}(.*?){%-?\s*enddocs\s*-?%}", re.DOTALL)
_CALL = re.compile(r"^{{\s*doc\(\s*['\"](\w+)['\"]\s*\)\s*}}$")


def described(reader: Reader) -> dict[str, tuple[str, str]]:
    """Family and description of each column of ``final_dataset``.

    The family is the mart that the column comes from, without ``hourly_``. A comment in the
    warehouse wins over the project's text.
    """
    texts = _from_project()
    for column, comment in reader.connection.execute(
        """
        select column_name, comment from duckdb_columns()
        where table_name = 'final_dataset' and comment is not null
            and database_name = current_database()
        """
    ).fetchall():
        texts[column] = (texts.get(column, ("", ""))[0], comment)
    return texts


def _from_project() -> dict[str, tuple[str, str]]:
    blocks = {
        name: " ".join(text.split())
        for path in sorted(DOCS.glob("*.md"))
        for name, text in _BLOCK.findall(path.read_text())
    }
    texts: dict[str, tuple[str, str]] = {}
    for path in sorted(MARTS.glob("hourly_*.yml")) + sorted(MARTS.glob("*_1h.yml")):
        for column, text in _columns(path):
            call = _CALL.match(text)
            meaning = blocks.get(call[1], "") if call else " ".join(text.split())
            family = "keys" if column in KEYS else path.stem.removeprefix("hourly_")
            texts.setdefault(column, (family.replace("_", " "), meaning))
    return texts


def _columns(path: Path) -> list[tuple[str, str]]:
    # The C loader is many times as quick; not every installation has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    models = yaml.load(path.read_text(), Loader=loader)["models"]  # noqa: S506 (a safe loader)
    return [
        (column["name"], column.get("description", ""))
        for model in models
        if model["name"] == path.stem
        for column in model.get("columns", ())
    ]
