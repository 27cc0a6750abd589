"""The folder of an export holds a whole export or the one before, never a half."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.config import PROJECT_ROOT
from ingest.errors import PerpError, UsageError
from ingest.export import formats
from ingest.export.folder import replacing
from ingest.export.run import export
from ingest.export.source import Selection, Wish, open_source


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def beside(folder: Path) -> set[str]:
    """What lies beside the folder, but for the lock."""
    return {p.name for p in folder.parent.iterdir()} - {f".{folder.name}.lock"}


@pytest.mark.parametrize("form", ["parquet", "csv", "qlib", "npz"])
def test_interrupted_export_leaves_the_one_before(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    target = tmp_path / "out"
    export(form, small, Wish(columns=["close"]), target)
    before = contents(target)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(formats.Progress, "finish_one", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(form, small, Wish(), target)
    assert contents(target) == before
    assert beside(target) == {"out"}
    monkeypatch.undo()
    export(form, small, Wish(), target)
    assert contents(target) != before
    assert beside(target) == {"out"}


def test_the_same_data_give_the_same_bytes(small: Path, tmp_path: Path) -> None:
    for form in ("parquet", "csv", "qlib", "npz"):
        made = [export(form, small, Wish(), tmp_path / form / n)["sha256"] for n in ("a", "b")]
        assert made[0] == made[1]


def test_checksum_is_what_the_shell_says(small: Path, tmp_path: Path) -> None:
    manifest = export("csv", small, Wish(), tmp_path / "out")
    command = (
        "find . -type f ! -name export.json -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"
        " | sha256sum"
    )
    found = subprocess.run(command, shell=True, cwd=tmp_path / "out", capture_output=True)
    assert found.stdout.decode().split()[0] == manifest["sha256"]
    assert manifest["files"] == 5
    assert manifest == json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))


def test_folder_with_other_files_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files"):
        export("npz", small, Wish(), tmp_path)
    export("npz", small, Wish(), tmp_path / "out")
    with pytest.raises(UsageError, match="holds an export as npz; give --to another folder"):
        export("csv", small, Wish(), tmp_path / "out")
    with pytest.raises(UsageError, match="is a file"):
        export("csv", small, Wish(), tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").exists()


def test_two_exports_to_one_folder_are_refused(tmp_path: Path) -> None:
    with replacing(tmp_path / "out", "npz") as first:
        (first / "file").touch()
        second = replacing(tmp_path / "out", "npz")
        with pytest.raises(UsageError, match="another export is being written"), second:
            pass
    assert (tmp_path / "out" / "file").exists()


def test_folder_that_cannot_be_written_is_said(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PerpError, match="cannot write the export to"):
        export("npz", small, Wish(), tmp_path / "file" / "out")


def test_panel_that_does_not_fit_is_refused(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 15_000})
    monkeypatch.setattr("ingest.export.run.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"the panel takes 15\.6 kB and .* has 15\.0 kB free"):
        export("npz", small, Wish(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export("npz", small, Wish(columns=["close"]), tmp_path / "out")


KILLED = """
import os, signal, sys
from pathlib import Path
from ingest.export.folder import replacing

step, target = sys.argv[1], Path(sys.argv[2])
real = os.replace

def replace(source, destination):
    if step == "before" or (step == "between" and Path(source).name == ".out.new"):
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, destination)

os.replace = replace
with replacing(target, "npz") as folder:
    (folder / "new").touch()
"""


@pytest.mark.parametrize("step", ["before", "between"])
def test_killed_export_leaves_the_one_before(tmp_path: Path, step: str) -> None:
    target = tmp_path / "out"
    with replacing(target, "npz") as folder:
        (folder / "export.json").write_text('{"format": "npz"}')
    command = [sys.executable, "-c", KILLED, step, target]
    killed = subprocess.run(command, cwd=PROJECT_ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {"before": target, "between": tmp_path / ".out.old"}[step].exists()
    with replacing(target, "npz"):
        assert (target / "export.json").exists()
    assert beside(target) == {"out"}


def test_memory_is_that_of_a_block(small: Path) -> None:
    """Symbols are read together only as far as a block holds them."""
    with open_source(small) as source:
        selection = source.select(Wish(), numbers_only=True)
    assert [len(g) for g in selection.groups()] == [5]
    many = [
        type(s)(f"{s.symbol}{n}", s.first, s.last, 45_000)
        for n in range(20)
        for s in selection.spans[:1]
    ]
    wide = Selection(selection.columns * 40, many, Wish())
    sizes = [sum(map(wide.rows_of, g)) * len(wide.columns) * 8 for g in wide.groups()]
    assert max(sizes) <= 256_000_000
    assert sum(sizes) == 20 * 45_000 * len(wide.columns) * 8
