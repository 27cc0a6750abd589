"""Write, audit, publish: a version of the warehouse for readers, put in place in one step.

``{published}/versions/{id}/`` holds ``warehouse.duckdb``, ``parquet/`` and ``manifest.json``, and
``{published}/current`` is a symbolic link to the newest. A version is written under a temporary
name, read back, synced and renamed; then the link is replaced. So whatever happens, and whenever,
the link leads to a whole version, and a reader sees the old one or the new one.

Months that have not been built since the version before are taken from it: its Parquet files by
hard link, its DuckDB file by a copy in which the other months are replaced.
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
from ingest.names import encode_symbol
from ingest.progress import Progress, duration, size
from ingest.store import fsync_folder
from ingest.tables import TIMELESS, TIMES, Table, published_tables, rows_of_months
from ingest.warehouse import attach, interruptible, literal, memory_limit, quoted

PartitionBy = Literal["symbol", "month"]

FILE = "warehouse.duckdb"
_VERSION = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{8}")
_OUT = "publication"  # name of the new file in SQL
_CELLS_AT_ONCE = 250_000_000  # values to be sorted in memory, about 2 GB
_ROW_GROUP = 30_720  # rows; few, so that the years of one symbol are work for several threads
_MONTHS_BEHIND = 12  # replaced since a table was last sorted as a whole


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
                    before = _Before(root / "current", manifest) if manifest else None
                    writer = _Writer(connection, source, config, build, partition_by, before)
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


@dataclass(frozen=True)
class _Before:
    """The version that is published, and what of it the next one can take over."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of its files, by their paths."""
        return {f["path"]: f for f in self.manifest["files"]}

    def states(self, table: Table) -> dict[str, str]:
        """States of a table's months then; none if it is not to be taken over."""
        then = self.manifest["tables"].get(table.name, {})
        alike = self.manifest["duckdb_version"] == duckdb.__version__
        found: dict[str, str] = then.get("states", {}) if alike else {}
        columns = list(then.get("columns", {}).items())
        return found if columns == list(table.types.items()) else {}

    def behind(self, table: Table) -> set[str]:
        """Months whose rows stand behind the sorted ones of its DuckDB file."""
        return set(self.manifest["tables"][table.name]["behind"])


@dataclass(frozen=True)
class _Part:
    """A Parquet file: its month or symbol, its rows, and whether it is that of the version before.

    ``path`` is relative to the version.
    """

    path: Path
    value: str
    rows: int
    stands: bool


@dataclass(frozen=True)
class _Plan:
    """What is written of a table.

    ``replaced``: months whose rows take the place of others in the DuckDB file of the version
    before; None if the table is written as a whole. ``behind``: months whose rows stand behind
    the sorted ones.
    """

    table: Table
    replaced: list[str] | None
    behind: list[str]
    parts: list[_Part]

    @property
    def rows(self) -> int:
        """How many go into the DuckDB file."""
        if self.replaced is None:
            return self.table.rows
        return sum(self.table.months.get(month, 0) for month in self.replaced)

    @property
    def where(self) -> str:
        """Which of the table's rows these are."""
        if self.replaced is None:
            return "true"
        return " or ".join(self.table.within(month) for month in self.replaced)


class _Writer:
    """Writes one version."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: str,
        config: Config,
        build: Build,
        partition_by: PartitionBy,
        before: _Before | None,
    ) -> None:
        self.connection, self.source, self.config = connection, source, config
        self.build, self.partition_by, self.before = build, partition_by, before
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
        plans = self._plans()
        known = self.before.files if self.before else {}
        parts = [part for plan in plans for part in plan.parts]
        stand = {part.path.as_posix() for part in parts if part.stands}
        _check_space(
            self.config.published, sum(f["bytes"] for f in known.values() if f["path"] not in stand)
        )
        chunks = {plan.table.name: self._chunks(plan) for plan in plans}
        count = len(parts) + sum(map(len, chunks.values()))
        weight = sum(
            len(plan.table.columns) * (plan.rows + sum(p.rows for p in plan.parts if not p.stands))
            for plan in plans
        )
        with Progress("publish", count, "parts", weight) as progress:
            self._begin(plans, progress)
            for plan in plans:
                self._copy(plan, chunks[plan.table.name], progress)
            for plan in plans:
                for part in plan.parts:
                    self._export(plan.table, part, progress)
            spans = {plan.table.name: self._span(plan.table) for plan in plans}
            self.connection.execute(f"detach {_OUT}")
            shutil.rmtree(spill, ignore_errors=True)
            _audit(self.folder / FILE, plans)
            progress.note("publish: checksums")
            files = [_settle(self.folder, Path(FILE), None, progress)]
            for part in parts:
                stood = known[part.path.as_posix()] if part.stands else None
                files.append(stood or _settle(self.folder, part.path, part.rows, progress))
        manifest = self._manifest(plans, spans, files)
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        _sync(path)
        for folder in (self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())):
            fsync_folder(folder)
        return manifest

    # --------------------------------------------------------------------------------- the plan
    def _plans(self) -> list[_Plan]:
        tables = published_tables(self.connection, self.source)
        replaced = {t.name: self._replaced(t) for t in tables}
        anew = sum(t.cells for t in tables if replaced[t.name] is None)
        if 2 * anew > sum(t.cells for t in tables):
            replaced = dict.fromkeys(replaced)  # hardly worth a copy of the file
        return [
            _Plan(t, replaced[t.name], self._behind(t, replaced[t.name]), self._parts(t))
            for t in tables
        ]

    def _standing(self, table: Table) -> set[str]:
        """Months that have not been built since the version before."""
        then = self.before.states(table) if self.before else {}
        return {month for month, _ in table.states.items() & then.items()}

    def _replaced(self, table: Table) -> list[str] | None:
        standing = self._standing(table)
        if not self.before or not standing:
            return None
        new = sorted((table.states.keys() | self.before.states(table)) - standing)
        if not new:
            return []
        if not table.is_series or TIMELESS in new:
            return None
        few = 2 * sum(table.months.get(month, 0) for month in new) <= table.rows
        return new if few and len(self._behind(table, new)) <= _MONTHS_BEHIND else None

    def _behind(self, table: Table, replaced: list[str] | None) -> list[str]:
        if replaced is None or not self.before:
            return []
        return sorted(self.before.behind(table) | set(replaced))

    # ----------------------------------------------------------------------------- the DuckDB file
    def _begin(self, plans: Sequence[_Plan], progress: Progress) -> None:
        """Open the file: a new one, or a copy of the version before without what has gone."""
        path = self.folder / FILE
        kept = {plan.table.name for plan in plans if plan.replaced is not None}
        if self.before and kept:
            progress.note(
                f"publish: months that stand are taken from {self.before.manifest['version']}"
            )
            shutil.copyfile(self.before.folder / FILE, path)
        self.connection.execute(
            f"attach {literal(str(path))} as {_OUT} (row_group_size {_ROW_GROUP})"
        )
        if kept:
            there = self.connection.execute(
                "select table_name from duckdb_tables() where database_name = ?", [_OUT]
            ).fetchall()
            for name in {name for (name,) in there} - kept:
                self.connection.execute(f"drop table {_OUT}.main.{quoted(name)}")

    def _chunks(self, plan: _Plan) -> list[str]:
        """Conditions for the rows that are sorted and written at once."""
        table = plan.table
        if plan.replaced == []:
            return []
        if plan.rows * len(table.columns) <= _CELLS_AT_ONCE or "symbol" not in table.names:
            return [plan.where]
        counts = self.connection.execute(
            f"select symbol, count(*) from {self._from(table)} where {plan.where} "  # noqa: S608
            "group by symbol order by symbol"
        ).fetchall()
        return [
            f"symbol between {literal(first)} and {literal(last)} and ({plan.where})"
            for first, last in _ranges(counts, _CELLS_AT_ONCE // len(table.columns))
        ]

    def _copy(self, plan: _Plan, chunks: Sequence[str], progress: Progress) -> None:
        """Write a table or its new months, sorted, with its comments."""
        table = plan.table
        target = f"{_OUT}.main.{quoted(table.name)}"
        source = self._from(table)
        order = f"order by {', '.join(map(quoted, table.keys))}" if table.keys else ""
        if plan.replaced is None:
            self.connection.execute(f"create table {target} as from {source} limit 0")
        elif plan.replaced:
            self.connection.execute(f"delete from {target} where {plan.where}")  # noqa: S608
        for where in chunks:
            self.connection.execute(
                f"insert into {target} select * from {source} where {where} {order}"  # noqa: S608
            )
            progress.add_weight(plan.rows * len(table.columns) // len(chunks))
            progress.finish_one()
        progress.add_rows(plan.rows)
        self._comment(table)

    def _comment(self, table: Table) -> None:
        target = f"{_OUT}.main.{quoted(table.name)}"
        there = dict(
            self.connection.execute(
                """
                select column_name, comment from duckdb_columns()
                where database_name = $1 and table_name = $2
                union all
                select null, comment from duckdb_tables()
                where database_name = $1 and table_name = $2
                """,
                [_OUT, table.name],
            ).fetchall()
        )
        if table.comment != there[None]:
            self.connection.execute(f"comment on table {target} is {_text(table.comment)}")
        for name, _, comment in table.columns:
            if comment != there[name]:
                self.connection.execute(
                    f"comment on column {target}.{quoted(name)} is {_text(comment)}"
                )

    def _from(self, table: Table) -> str:
        return f"{quoted(self.source)}.main.{quoted(table.name)}"

    def _span(self, table: Table) -> tuple[str, str] | None:
        """First and last moment of a table of moments."""
        if not table.rows or table.time not in TIMES:
            return None
        row = self.connection.execute(
            f"select min({table.time}), max({table.time}) "  # noqa: S608
            f"from {_OUT}.main.{quoted(table.name)}"
        ).fetchone()
        return (row[0].isoformat(), row[1].isoformat()) if row and row[0] else None

    # ------------------------------------------------------------------------------------- Parquet
    def _parts(self, table: Table) -> list[_Part]:
        """The files that a table becomes."""
        if not table.is_series:
            return []
        folder = Path("parquet") / table.name
        if self.partition_by == "month":
            standing = self._standing(table)
            there = self.before.files if self.before else {}
            paths = {month: folder / f"month={month}" / "data.parquet" for month in table.months}
            return [
                _Part(path, month, table.months[month], month in standing and str(path) in there)
                for month, path in paths.items()
            ]
        found = self.connection.execute(
            f"select symbol, count(*) from {self._from(table)} group by 1 order by 1"  # noqa: S608
        ).fetchall()
        return [
            _Part(folder / f"symbol={encode_symbol(symbol)}" / "data.parquet", symbol, rows, False)
            for symbol, rows in found
        ]

    def _export(self, table: Table, part: _Part, progress: Progress) -> None:
        """Write one Parquet file, or take that of the version before."""
        path = self.folder / part.path
        path.parent.mkdir(parents=True)
        if part.stands and self.before:
            _take_over(self.before.folder / part.path, path)
        else:
            # From where its rows lie together: the copy is sorted by symbol, the source by months.
            if self.partition_by == "symbol":
                source, where = (
                    f"{_OUT}.main.{quoted(table.name)}",
                    f"symbol = {literal(part.value)}",
                )
            else:
                source, where = self._from(table), table.within(part.value)
            self.connection.execute(
                f"""
                copy (
                    select * from {source} where {where}
                    order by {", ".join(table.keys)}
                ) to {literal(str(path))} (format parquet, compression zstd)
                """  # noqa: S608
            )
            progress.add_weight(part.rows * len(table.columns))
        progress.finish_one()

    # -------------------------------------------------------------------------------- the manifest
    def _manifest(
        self,
        plans: Sequence[_Plan],
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
                plan.table.name: {
                    "rows": plan.table.rows,
                    "first": (spans[plan.table.name] or (None, None))[0],
                    "last": (spans[plan.table.name] or (None, None))[1],
                    "columns": plan.table.types,
                    "states": plan.table.states,
                    "behind": plan.behind,
                }
                for plan in plans
            },
            "files": files,
        }


def _ranges(counts: Sequence[tuple[str, int]], most: int) -> Iterator[tuple[str, str]]:
    """Ranges (first, last) of sorted symbols that have ``most`` rows each, or little more."""
    first, rows = "", 0
    for symbol, n in counts:
        first, rows = first or symbol, rows + n
        if rows >= most or symbol == counts[-1][0]:
            yield first, symbol
            first, rows = "", 0


def _audit(path: Path, plans: Sequence[_Plan]) -> None:
    """Read the finished file as readers do; raises PerpError if a table is not all there."""
    connection = duckdb.connect(str(path), read_only=True, config={"enable_external_access": False})
    with connection, interruptible(connection):
        for plan in plans:
            table = plan.table
            row = connection.execute(f"select count(*) from {quoted(table.name)}").fetchone()  # noqa: S608
            found = {"": row[0] if row else 0}
            expected = {"": table.rows}
            found |= rows_of_months(connection, quoted(table.name), table)
            expected |= table.months
            for month, _ in sorted(found.items() ^ expected.items()):
                raise PerpError(
                    f"{path}: {' '.join([table.name, month]).strip()} has "
                    f"{found.get(month, 0):,} rows and not {expected.get(month, 0):,}; nothing is "
                    "published; run this command again, and report it if it comes again"
                )


def _take_over(source: Path, target: Path) -> None:
    """Give a read-only file a second name; where links cannot be made, copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        _sync(target)


def _settle(folder: Path, path: Path, rows: int | None, progress: Progress) -> dict[str, Any]:
    """Make a file durable and read-only; returns its entry in the manifest."""
    with (folder / path).open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        n_bytes = handle.tell()
    _sync(folder / path)
    progress.add_bytes(n_bytes)
    of_rows = {} if rows is None else {"rows": rows}
    return {"path": path.as_posix(), **of_rows, "bytes": n_bytes, "sha256": digest}


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


def _check_space(root: Path, needed: int) -> None:
    """Raise PerpError if not even so many bytes are free."""
    free = shutil.disk_usage(root).free
    if free < needed:
        raise PerpError(
            f"no space left for {root}: a version like the last one takes {size(needed)} and "
            f"{size(free)} are free; free some, or keep fewer versions (--keep), and run this "
            "command again: what was published stays"
        )


def _text(comment: str | None) -> str:
    return "null" if comment is None else literal(comment)


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
