"""What the commands have in common: options for where things are, and lists in one argument."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ingest import runlog
from ingest.config import Config
from ingest.store import lake_path


def located(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command options for where things are, and hand it the resulting ``config``."""
    options = {
        "lake": (
            "--lake",
            lake_path,
            "Folder of the lake, or s3:// address [PERP_LAKE, data/lake].",
        ),
        "warehouse": ("--warehouse", Path, "DuckDB file [PERP_WAREHOUSE, data/warehouse.duckdb]."),
        "published": (
            "--published",
            Path,
            "Folder for readers [PERP_PUBLISHED, beside the warehouse].",
        ),
        "archive_url": ("--archive-url", str, "Address of the archive [PERP_ARCHIVE_URL]."),
        "archive_listing_url": (
            "--archive-listing-url",
            str,
            "Address of its listing [PERP_ARCHIVE_LISTING_URL].",
        ),
        "api_url": ("--api-url", str, "Address of the exchange's API [PERP_API_URL]."),
        "tardis_url": ("--tardis-url", str, "Address of Tardis's files [PERP_TARDIS_URL]."),
        "stream_url": ("--stream-url", str, "Address of the exchange's streams [PERP_STREAM_URL]."),
    }

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def with_config(**arguments: Any) -> int:  # noqa: ANN401 (whatever the command takes)
            config = Config.from_env(**{name: arguments.pop(name) for name in names})
            name = _name_of(click.get_current_context())
            if not _changes(name, arguments):
                return command(config=config, **arguments)
            with runlog.recorded(config.lake, name, arguments) as code:
                code.append(command(config=config, **arguments) or 0)
            return code[0]

        for name in reversed(names):
            flag, kind, text = options[name]
            with_config = click.option(flag, name, type=kind, help=text)(with_config)
        return with_config

    return decorate


def _name_of(context: click.Context) -> str:
    """The command as it is typed behind ``perp``."""
    words: list[str] = []
    while context.parent:
        words.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(words)


def _changes(command: str, arguments: Mapping[str, object]) -> bool:
    """Whether a command with these arguments changes anything, and so gets a run log."""
    if command == "verify":
        return bool(arguments.get("repair"))
    return command != "status" and not arguments.get("dry_run")


def complain(text: str) -> None:
    """A message to the user."""
    runlog.note(text)
    print(f"perp: {text}", file=sys.stderr)


def split(text: str | None) -> list[str] | None:
    """Parts of a comma-separated list, each once; None where the option is not given."""
    if text is None:
        return None
    parts = [p for p in (part.strip() for part in text.split(",")) if p]
    return list(dict.fromkeys(parts))
