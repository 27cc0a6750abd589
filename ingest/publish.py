"""Write, audit, publish: a version of the warehouse for readers, put in place in one step.

``{published}/versions/{id}/`` holds ``warehouse.duckdb``, ``parquet/`` and ``manifest.json``, and
``{published}/current`` is a symbolic link to the newest. A version is written under a temporary
name, read back, synced and renamed; then the link is replaced. So whatever happens, and whenever,
the link leads to a whole version, and a reader sees the old one or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Literal

import duckdb

from ingest.builds import Build, publishable
from ingest.config import PROJECT_ROOT, Config
from ingest.errors import PerpError, UsageError
from ingest.names import encode_symbol, month_bounds
from ingest.progress import Progress, duration, size
from ingest.store import fsync_folder
from ingest.warehouse import attach, interruptible, literal, memory_limit, quoted

PartitionBy = Literal["symbol", "month"]

FILE = "warehouse.duckdb"
_VERSION = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{8}")
_OUT = "publication"  # name of the new file in SQL
_TIMES = ("hour_ts", "bar_ts")  # of hourly and finer tables
_OF_BUILDS = ("build_starts", "build_states", "landings")  # what builds go by
_READ_BY_PEOPLE = ("int_liquidations",)  # besides marts, quality tables and seeds
_CELLS_AT_ONCE = 250_000_000  # values to be sorted in memory, about 2 GB


@dataclass(frozen=True)
class Table:
    """A table of the warehouse; ``columns`` are (name, type, comment)."""

    name: str
    comment: str | None
    columns: tuple[tuple[str, str, str | None], ...]
    rows: int

    @property
    def names(self) -> list[str]:
        """Names of its columns."""
        return [name for name, _, _ in self.columns]

    @property
    def time(self) -> str | None:
        """The first column that says when."""
        of_type = [n for n, kind, _ in self.columns if kind in ("TIMESTAMP", "DATE")]
        return next((n for n in (*_TIMES, *of_type, "month") if n in self.names), None)

    @property
    def keys(self) -> list[str]:
        """Columns to sort by."""
        return [n for n in ("symbol", self.time) if n in self.names and n]

    @property
    def is_series(self) -> bool:
        """True for rows of a symbol and hour, or quarter of an hour: these become Parquet."""
        return "symbol" in self.names and self.time in _TIMES

    @property
    def cells(self) -> int:
        """How many values it holds."""
        return self.rows * len(self.columns)


@dataclass(frozen=True)
class Published:
    """What a publish did."""

    version: str
    folder: Path
    is_new: bool  # False: this build had been published before
    manifest: dict[str, Any]
    removed: list[str] = field(default_factory=list)  # versions beyond those to keep
    seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """Size of the version's files."""
        return sum(int(f["bytes"]) for f in self.manifest["files"])

    @property
    def text(self) -> str:
        """What was done, for people."""
        removed = f"; {len(self.removed)} older removed" if self.removed else ""
        if not self.is_new:
            return f"{self.version} is of the last build: nothing to publish{removed}"
        tables = self.manifest["tables"].values()
        return (
            f"{self.version}: {len(tables)} tables, {sum(t['rows'] for t in tables):,} rows, "
            f"{len(self.manifest['files'])} files, {size(self.bytes)} in "
            f"{duration(self.seconds)}, {self.manifest['first']} to "
            f"{self.manifest['last']}{removed}"
        )


def publish(config: Config, *, keep: int = 3, partition_by: PartitionBy = "month") -> Published:
    """Publish the warehouse as its last build left it, if that was whole and without error.

    Args:
        keep: versions to keep, the new one included.
        partition_by: how the Parquet files are cut.

    Raises UsageError if the build is not fit to be published, PerpError if the warehouse cannot be
    opened or the version cannot be written. In both cases what is published stays.
    """
    started = time.monotonic()
    root = config.published
    versions = root / "versions"
    with _writing(root):
        versions.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            _clean(root)
            connection = duckdb.connect(":memory:", config=_settings())
            with connection, interruptible(connection):
                source = attach(connection, config.warehouse)
                build = publishable(connection, source)
                manifest = current_manifest(root)
                is_new = not manifest or not _is_of(manifest, build, partition_by)
                if is_new:
                    _check_space(root, manifest)
                    writer = _Writer(connection, source, config, build, partition_by)
                    manifest = writer.write(versions)
                    _point(root, manifest["version"])
            assert manifest  # noqa: S101 (for mypy: the old one or the new one)
            removed = _remove_old(versions, keep, manifest["version"])
    return Published(
        manifest["version"],
        versions / manifest["version"],
        is_new,
        manifest,
        removed,
        time.monotonic() - started,
    )


def current_manifest(root: Path) -> dict[str, Any] | None:
    """Manifest of the version that is published; None if there is none, or not all of it."""
    folder = root / "current"
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        files = {f["path"]: f["bytes"] for f in manifest["files"]}
        whole = all((folder / path).stat().st_size == n for path, n in files.items())
    except (OSError, ValueError, KeyError):
        return None
    return manifest if whole else None


def _is_of(manifest: dict[str, Any], build: Build, partition_by: PartitionBy) -> bool:
    published = manifest["build"]["invocation_id"], manifest["partition_by"]
    return published == (build.invocation_id, partition_by)


class _Writer:
    """Writes one version."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: str,
        config: Config,
        build: Build,
        partition_by: PartitionBy,
    ) -> None:
        self.connection, self.source, self.config = connection, source, config
        self.build, self.partition_by = build, partition_by
        self.created = datetime.now(UTC)
        moment = f"{self.created:%Y%m%dT%H%M%S%f}"[:-3]
        self.version = f"{moment}Z-{build.invocation_id[:8]}"

    def write(self, versions: Path) -> dict[str, Any]:
        """Write the version and give it its name; returns its manifest."""
        self.folder = versions / f".{self.version}.tmp"
        self.folder.mkdir()
        try:
            manifest = self._write()
            self.folder.rename(versions / self.version)
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                self.connection.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        fsync_folder(versions)
        return manifest

    def _write(self) -> dict[str, Any]:
        spill = self.folder / "spill"
        self.connection.execute("set enable_progress_bar = false")  # it would write to stdout
        self.connection.execute(f"set temp_directory = {literal(str(spill))}")
        tables = _tables(self.connection, self.source)
        chunks = {t.name: self._chunks(t) for t in tables}
        parts = {t.name: self._parts(t) for t in tables if t.is_series}
        count = sum(len(x) for x in (*chunks.values(), *parts.values()))
        weight = sum(t.cells * (2 if t.is_series else 1) for t in tables)
        rows_of: dict[str, int] = {}
        with Progress("publish", count, "parts", weight) as progress:
            self.connection.execute(f"attach {literal(str(self.folder / FILE))} as {_OUT}")
            for table in tables:
                self._copy(table, chunks[table.name], progress)
            for table in tables:
                for part in parts.get(table.name, []):
                    rows_of[self._export(table, part)] = part.rows
                    progress.add_weight(table.cells // len(parts[table.name]))
                    progress.finish_one()
            spans = {t.name: self._span(t) for t in tables}
            self.connection.execute(f"detach {_OUT}")
            shutil.rmtree(spill, ignore_errors=True)
            _audit(self.folder / FILE, tables)
            progress.note("publish: checksums")
            files = [
                _settle(self.folder, path, rows_of, progress)
                for path in sorted(self.folder.rglob("*"))
                if path.is_file()
            ]
        manifest = self._manifest(tables, spans, files)
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        _sync(path)
        for folder in (self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())):
            fsync_folder(folder)
        return manifest

    # ----------------------------------------------------------------------------- the DuckDB file
    def _chunks(self, table: Table) -> Sequence[tuple[str, str] | None]:
        """Ranges of symbols that are sorted and written at once; None is all of a small table."""
        if table.cells <= _CELLS_AT_ONCE or "symbol" not in table.names:
            return [None]
        counts = self.connection.execute(
            f"select symbol, count(*) from {self._from(table)} group by symbol order by symbol"  # noqa: S608
        ).fetchall()
        return list(_ranges(counts, _CELLS_AT_ONCE // len(table.columns)))

    def _copy(
        self, table: Table, chunks: Sequence[tuple[str, str] | None], progress: Progress
    ) -> None:
        """Write a table, sorted, with its comments."""
        target = f"{_OUT}.main.{quoted(table.name)}"
        source = self._from(table)
        order = f"order by {', '.join(map(quoted, table.keys))}" if table.keys else ""
        self.connection.execute(f"create table {target} as from {source} limit 0")
        for chunk in chunks:
            where = "where symbol between ? and ?" if chunk else ""
            self.connection.execute(
                f"insert into {target} select * from {source} {where} {order}",  # noqa: S608
                chunk or [],
            )
            progress.add_weight(table.cells // len(chunks))
            progress.finish_one()
        progress.add_rows(table.rows)
        if table.comment:
            self.connection.execute(f"comment on table {target} is {literal(table.comment)}")
        for name, _, comment in table.columns:
            if comment:
                self.connection.execute(
                    f"comment on column {target}.{quoted(name)} is {literal(comment)}"
                )

    def _from(self, table: Table) -> str:
        return f"{quoted(self.source)}.main.{quoted(table.name)}"

    def _span(self, table: Table) -> tuple[str, str] | None:
        """First and last moment of a table of moments."""
        if not table.rows or table.time not in _TIMES:
            return None
        row = self.connection.execute(
            f"select min({table.time}), max({table.time}) "  # noqa: S608
            f"from {_OUT}.main.{quoted(table.name)}"
        ).fetchone()
        return (row[0].isoformat(), row[1].isoformat()) if row and row[0] else None

    # ------------------------------------------------------------------------------------- Parquet
    def _parts(self, table: Table) -> list[_Part]:
        """The files that a table becomes."""
        key = "symbol" if self.partition_by == "symbol" else f"strftime({table.time}, '%Y-%m')"
        found = self.connection.execute(
            f"select {key}, count(*) from {self._from(table)} group by 1 order by 1"  # noqa: S608
        ).fetchall()
        return [_Part(value, rows) for value, rows in found]

    def _export(self, table: Table, part: _Part) -> str:
        """Write one Parquet file; returns its path in the version."""
        # Each from where its rows lie together: the copy is sorted by symbol, the source by months.
        if self.partition_by == "symbol":
            folder, where = f"symbol={encode_symbol(part.value)}", f"symbol = {literal(part.value)}"
            source = f"{_OUT}.main.{quoted(table.name)}"
        else:
            first, after = month_bounds(part.value)
            folder, source = f"month={part.value}", self._from(table)
            where = f"{table.time} >= timestamp '{first}' and {table.time} < timestamp '{after}'"
        path = Path("parquet") / table.name / folder / "data.parquet"
        (self.folder / path).parent.mkdir(parents=True)
        self.connection.execute(
            f"""
            copy (
                select * from {source} where {where}
                order by {", ".join(table.keys)}
            ) to {literal(str(self.folder / path))} (format parquet, compression zstd)
            """  # noqa: S608
        )
        return path.as_posix()

    # -------------------------------------------------------------------------------- the manifest
    def _manifest(
        self,
        tables: Sequence[Table],
        spans: dict[str, tuple[str, str] | None],
        files: list[dict[str, Any]],
    ) -> dict[str, Any]:
        known = [span for span in spans.values() if span]
        return {
            "version": self.version,
            "created_at": f"{self.created:%Y-%m-%dT%H:%M:%SZ}",
            "first": min((a for a, _ in known), default=None),
            "last": max((b for _, b in known), default=None),
            "build": {
                k: v.isoformat() if isinstance(v, datetime) else v
                for k, v in asdict(self.build).items()
            },
            "package_version": package_version("perp-warehouse"),
            "git_revision": _git_revision(),
            "duckdb_version": duckdb.__version__,
            "lake": str(self.config.lake.absolute()),
            "warehouse": str(self.config.warehouse.absolute()),
            "partition_by": self.partition_by,
            "tables": {
                t.name: {
                    "rows": t.rows,
                    "first": (spans[t.name] or (None, None))[0],
                    "last": (spans[t.name] or (None, None))[1],
                    "columns": {name: kind for name, kind, _ in t.columns},
                }
                for t in tables
            },
            "files": files,
        }


@dataclass(frozen=True)
class _Part:
    """A Parquet file to write: its month or symbol, and its rows."""

    value: str
    rows: int


def _ranges(counts: Sequence[tuple[str, int]], most: int) -> Iterator[tuple[str, str]]:
    """Ranges (first, last) of sorted symbols that have ``most`` rows each, or little more."""
    first, rows = "", 0
    for symbol, n in counts:
        first, rows = first or symbol, rows + n
        if rows >= most or symbol == counts[-1][0]:
            yield first, symbol
            first, rows = "", 0


def _tables(connection: duckdb.DuckDBPyConnection, source: str) -> list[Table]:
    """What readers query: marts, quality tables, seeds and the build log, but no steps between."""
    found = connection.execute(
        """
        select table_name as name, comment from duckdb_tables()
        where database_name = $1 and schema_name = 'main' and not internal
        union all
        select view_name as name, comment from duckdb_views()
        where database_name = $1 and schema_name = 'main' and not internal
        order by name
        """,
        [source],
    ).fetchall()
    tables = []
    for name, comment in found:
        inner = name.startswith(("stg_", "int_")) or "__dbt_" in name or name in _OF_BUILDS
        if inner and name not in _READ_BY_PEOPLE:
            continue
        columns = connection.execute(
            "select column_name, data_type, comment from duckdb_columns() "
            "where database_name = ? and schema_name = 'main' and table_name = ? "
            "order by column_index",
            [source, name],
        ).fetchall()
        count = connection.execute(
            f"select count(*) from {quoted(source)}.main.{quoted(name)}"  # noqa: S608
        ).fetchone()
        tables.append(Table(name, comment, tuple(columns), count[0] if count else 0))
    return tables


def _audit(path: Path, tables: Sequence[Table]) -> None:
    """Read the finished file as readers do; raises PerpError if a table is not all there."""
    connection = duckdb.connect(str(path), read_only=True, config={"enable_external_access": False})
    with connection, interruptible(connection):
        for table in tables:
            row = connection.execute(f"select count(*) from {quoted(table.name)}").fetchone()  # noqa: S608
            if row != (table.rows,):
                raise PerpError(
                    f"{path}: {table.name} has {row} rows and not {table.rows:,}; nothing is "
                    "published; run this command again, and report it if it comes again"
                )


def _settle(
    folder: Path, path: Path, rows_of: dict[str, int], progress: Progress
) -> dict[str, Any]:
    """Make a file durable and read-only; returns its entry in the manifest."""
    name = path.relative_to(folder).as_posix()
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        n_bytes = handle.tell()
    _sync(path)
    progress.add_bytes(n_bytes)
    rows = {"rows": rows_of[name]} if name in rows_of else {}
    return {"path": name, **rows, "bytes": n_bytes, "sha256": digest}


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
    path.chmod(0o444)


def _point(root: Path, version: str) -> None:
    """Have ``current`` lead to a version, in one step."""
    link = root / ".current.tmp"
    link.symlink_to(Path("versions") / version)
    try:
        os.replace(link, root / "current")
    except IsADirectoryError:
        link.unlink()
        raise UsageError(
            f"{root / 'current'} is a folder and should be a link that perp makes; move it away, "
            "then run this command again"
        ) from None
    fsync_folder(root)


def _remove_old(versions: Path, keep: int, current: str) -> list[str]:
    """Remove the versions beyond the newest ``keep``, of which the current one is one."""
    others = sorted(
        (p.name for p in versions.iterdir() if _VERSION.fullmatch(p.name) and p.name != current),
        reverse=True,
    )
    removed = others[keep - 1 :]
    for name in removed:
        doomed = versions / f".{name}.tmp"  # no longer a version, however far the removal gets
        (versions / name).rename(doomed)
        shutil.rmtree(doomed)
    return removed


def _clean(root: Path) -> None:
    """Remove what killed publishes left behind."""
    (root / ".current.tmp").unlink(missing_ok=True)
    for path in (root / "versions").glob(".*.tmp"):
        shutil.rmtree(path)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One publish at a time; the kernel lets go of the lock when its process ends."""
    with (root / ".lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with Progress("waiting for another perp publish", 1, "publishes"):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Turn what the disk objects to into errors that say what to do."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or "No space left" in str(error):
            raise PerpError(
                f"no space left for {root}; free some, or keep fewer versions (--keep), and run "
                "this command again: what was published stays"
            ) from error
        if isinstance(error, PermissionError):
            raise UsageError(
                f"cannot write {root}: {error}; set PERP_PUBLISHED to a folder that you can write"
            ) from error
        raise PerpError(f"cannot publish in {root}: {error}; what was published stays") from error


def _check_space(root: Path, manifest: dict[str, Any] | None) -> None:
    """Raise PerpError if not even the version that is published would fit once more."""
    needed = sum(int(f["bytes"]) for f in manifest["files"]) if manifest else 0
    free = shutil.disk_usage(root).free
    if free < needed:
        raise PerpError(
            f"no space left for {root}: the last version has {size(needed)} and {size(free)} are "
            "free; free some, or keep fewer versions (--keep), and run this command again: what "
            "was published stays"
        )


def _settings() -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": memory_limit(),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def _git_revision() -> str | None:
    """Commit of the project that publishes, ``-dirty`` with changes; None if it is not in git."""
    git = shutil.which("git")
    if git is None or not (PROJECT_ROOT / ".git").exists():
        return None
    command = [git, "-C", str(PROJECT_ROOT), "describe", "--always", "--abbrev=40", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
