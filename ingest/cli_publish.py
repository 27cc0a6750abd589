"""The ``perp publish`` and ``perp update`` commands."""

from __future__ import annotations

import click

from ingest.cli_options import located
from ingest.config import Config
from ingest.progress import duration, size
from ingest.publish import PartitionBy, Published
from ingest.publish import publish as publish_version

KEEP = click.option(
    "--keep",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Versions to keep, the new one included.",
)


@click.command()
@KEEP
@click.option(
    "--partition-by",
    type=click.Choice(["symbol", "month"]),
    default="month",
    show_default=True,
    help="How the Parquet files are cut.",
)
@located("lake", "warehouse", "published")
def publish(config: Config, keep: int, partition_by: PartitionBy) -> int:
    """Publish the last build for readers, if it was whole and without error.

    Readers open PUBLISHED/current/warehouse.duckdb, or the Parquet files beside it. They see the
    old version until the new one stands, and never disturb a build.
    """
    print(said(publish_version(config, keep=keep, partition_by=partition_by), config))
    return 0


def said(published: Published, config: Config) -> str:
    """What a publish did, in a line."""
    manifest = published.manifest
    removed = f"; {len(published.removed)} older removed" if published.removed else ""
    if not published.is_new:
        return f"{published.version} is of the last build: nothing to publish{removed}"
    rows = sum(t["rows"] for t in manifest["tables"].values())
    return (
        f"{published.version}: {len(manifest['tables'])} tables, {rows:,} rows, "
        f"{len(manifest['files'])} files, {size(published.bytes)} in "
        f"{duration(published.seconds)}, {manifest['first']} to {manifest['last']}{removed}\n"
        f"published: {config.published / 'current'}"
    )
