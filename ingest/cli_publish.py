"""The ``perp publish`` and ``perp update`` commands."""

from __future__ import annotations

import click

from ingest.cli_options import located, split
from ingest.config import Config
from ingest.datasets import API, own_files
from ingest.errors import UsageError
from ingest.names import check_symbol
from ingest.progress import duration
from ingest.publish import PartitionBy
from ingest.publish import publish as publish_version
from ingest.run import Options
from ingest.sources.downloads import Retry
from ingest.update import update as bring_up_to_date

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
    print(publish_version(config, keep=keep, partition_by=partition_by).text)
    print(f"published: {config.published / 'current'}")
    return 0


@click.command()
@click.option("--symbols", help="Comma-separated contracts [default: the universe seed].")
@click.option("--datasets", help="Comma-separated, of archive and API [default: all].")
@click.option("--no-publish", is_flag=True, help="Land and build only.")
@KEEP
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1, 64))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--attempts", default=5, show_default=True, type=click.IntRange(1, 20))
@located("lake", "warehouse", "published", "archive_url", "archive_listing_url", "api_url")
def update(
    config: Config,
    symbols: str | None,
    datasets: str | None,
    no_publish: bool,
    keep: int,
    connections: int,
    workers: int,
    attempts: int,
) -> int:
    """Bring lake, warehouse and published version up to now, from what the lake has on.

    Archive files up to yesterday, the API up to the last closed hour, dbt build if anything has
    landed, publish if the build is clean. A second run right after has nothing to do.
    """
    steps = bring_up_to_date(
        config,
        symbols=[check_symbol(s) for s in _given("--symbols", symbols) or ()] or None,
        datasets=_datasets(_given("--datasets", datasets)),
        keep=keep,
        publishing=not no_publish,
        options=Options(connections, workers, Retry(attempts=attempts)),
    )
    for step in steps:
        mark = "" if step.ok else "FAILED: "
        print(f"{step.name:8} {duration(step.seconds)}  {mark}{step.text}")
    failed = [step.name for step in steps if not step.ok]
    outcome = f"failed: {', '.join(failed)}; run it again" if failed else "done"
    print(f"{'update':8} {duration(sum(s.seconds for s in steps))}  {outcome}")
    return 1 if failed else 0


def _given(name: str, text: str | None) -> list[str] | None:
    parts = split(text)
    if parts == []:
        raise UsageError(f"{name} is empty; leave it out for all")
    return parts


def _datasets(names: list[str] | None) -> list[str] | None:
    every = dict.fromkeys([*own_files(), *API])
    for name in names or ():
        if name not in every:
            raise UsageError(f"no dataset {name!r} to update; choose from {', '.join(every)}")
    return names
