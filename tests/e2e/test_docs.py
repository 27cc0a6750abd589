"""The answers that the docs print are those of the sandbox."""

from __future__ import annotations

import re

import pytest

from tests.build import PROJECT_ROOT, connect
from tests.conftest import Warehouse

PAGE = PROJECT_ROOT / "docs/a_liquidation_cascade.md"
BLOCKS = re.findall(r"```sql\n(.*?)```\n+((?:\|[^\n]*\n)*)", PAGE.read_text(), re.DOTALL)


def answer(warehouse: Warehouse, query: str) -> str:
    """The rows of a query as a Markdown table."""
    with connect(warehouse.path) as connection:
        result = connection.execute(query)
        names = [column[0] for column in result.description]
        rows = [["" if x is None else f"{x}" for x in row] for row in result.fetchall()]
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def test_every_query_has_an_answer():
    assert len(BLOCKS) == 7
    assert all(printed for _, printed in BLOCKS)


@pytest.mark.parametrize(("query", "printed"), BLOCKS)
def test_answers_are_those_of_the_sandbox(sandbox: Warehouse, query: str, printed: str):
    assert answer(sandbox, query) == printed
