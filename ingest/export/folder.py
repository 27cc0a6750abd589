"""The folder of an export: it holds the last whole export, or the one before, never a half."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest.errors import PerpError, UsageError

MANIFEST = "export.json"


@contextmanager
def replacing(target: Path, form: str) -> Iterator[Path]:
    """A new folder to write an export to; it takes the place of ``target`` when all went well.

    Args:
        target: absent, empty, or an earlier export of the same format.
        form: the format.

    Raises UsageError if ``target`` holds anything else.
    """
    target = target.resolve()
    _check(target, form)
    new, old = (target.with_name(f".{target.name}.{end}") for end in ("new", "old"))
    try:
        with _locked(target):
            _recover(target, new, old)
            new.mkdir()
            try:
                yield new
                os.sync()  # thousands of files: once for all of them
                if target.exists():
                    os.replace(target, old)
                os.replace(new, target)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise PerpError(f"cannot write the export to {target}: {error}") from error


def _check(target: Path, form: str) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file; give --to a folder")
    manifest = target / MANIFEST
    if manifest.exists():
        held = json.loads(manifest.read_text(encoding="utf-8")).get("format")
        if held != form:
            raise UsageError(f"{target} holds an export as {held}; give --to another folder")
    elif any(target.iterdir()):
        raise UsageError(f"{target} holds other files; give --to a folder of the export's own")


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Refuse to write where another process is writing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another export is being written to {target}; wait for it") from None
        yield


def _recover(target: Path, new: Path, old: Path) -> None:
    """Put right what a killed export left behind."""
    if old.exists() and not target.exists():
        os.replace(old, target)
    for folder in (new, old):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def write_manifest(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Add what the files are to what is known of the export, and write it beside them.

    The checksum is that of a list of checksums, in the order of the paths' bytes:
    ``find . -type f ! -name export.json -print0 | LC_ALL=C sort -z | xargs -0 sha256sum |
    sha256sum`` prints it.
    """
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    whole = hashlib.sha256()
    n_bytes = 0
    for path in sorted(paths, key=lambda p: p.encode()):
        with (folder / path).open("rb") as handle:
            whole.update(
                f"{hashlib.file_digest(handle, 'sha256').hexdigest()}  ./{path}\n".encode()
            )
            n_bytes += handle.tell()
    manifest = facts | {"files": len(paths), "bytes": n_bytes, "sha256": whole.hexdigest()}
    text = json.dumps(manifest, ensure_ascii=False, indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest
