"""docs/faults.md names tests that exist, for every fault that the project means to survive."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "faults.md"
ROW = re.compile(r"^\| (?P<fault>.+?) \| (?P<outcome>.+?) \| `(?P<test>[^`]+)` \|$")
NAME = re.compile(r"(?P<file>tests/[\w/]+\.py)::(?P<function>test_\w+)(?:\[(?P<case>.+)\])?")

FAULTS = (
    "kill -9 at every state edge", "short body", "body longer than Content-Length",
    "200 with HTML", "200 with XML", "206 with changed ETag", "301 to other host", "403", "404",
    "418", "429 with Retry-After", "451", "5xx", "TLS drop", "sidecar missing",
    "sidecar malformed", "sidecar wrong name", "sidecar stale", "not a zip",
    "truncated central directory", "CRC wrong", "two members", "member name != expected",
    "member `../x`", "member absolute", "member `%2e%2e`", "symlink mode", "encrypted flag",
    "zip64", "nested zip", "bomb", "BOM", "CRLF", "header or none", "extra column",
    "missing column", "renamed column", "us, ms, ns", "blank last line", "NUL", "`nan`", "`inf`",
    "exponent numbers", "int overflow", "unsorted", "duplicates", "overlap between months",
    "other symbol's rows inside", "rows outside the period", "disk full", "read-only dir",
    "cross-device rename", "clock jump", "two processes", "DuckDB file locked", "ledger row torn",
)  # fmt: skip


def rows() -> list[re.Match[str]]:
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if "::" in line]
    found = [ROW.match(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return [match for match in found if match]


@functools.cache
def functions(file: str) -> dict[str, str]:
    """Source of each test function of a file, decorators included."""
    source = (ROOT / file).read_text(encoding="utf-8")
    return {
        node.name: "\n".join(ast.unparse(d) for d in node.decorator_list)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_in_the_table(fault):
    assert any(fault in row["fault"] for row in rows()), fault


def test_every_test_that_the_table_names_exists():
    missing = []
    for row in rows():
        name = NAME.fullmatch(row["test"])
        assert name, row["test"]
        known = functions(name["file"]) if (ROOT / name["file"]).exists() else {}
        if name["function"] not in known:
            missing.append(row["test"])
        elif name["case"]:
            text = (ROOT / name["file"]).read_text(encoding="utf-8")
            if "parametrize" not in known[name["function"]] or f'"{name["case"]}"' not in text:
                missing.append(row["test"])
    assert missing == []


def test_no_fault_is_listed_twice():
    faults = [row["fault"] for row in rows()]
    assert sorted(set(faults)) == sorted(faults)
