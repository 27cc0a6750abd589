"""What the docs show is so: queries and programs run on the sandbox, commands parse.

In ``README.md`` and ``docs/*.md``
- a block of ``sql`` runs on the warehouse of the sandbox; the table below it is its answer,
- a block of ``python`` runs beside ``data/warehouse.duckdb``,
- a block of ``py`` is a part of a program, and Python,
- a block of ``console`` is commands after ``$``, and what they print; those that only read the lake
  are run (``…`` in a line stands for anything),
- every other mention of ``perp``, ``make`` and ``dbt`` in code is parsed by the program itself.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from dbt.cli.main import cli as dbt_cli

from ingest.cli import cli as perp_cli
from tests.build import PROJECT_ROOT, connect
from tests.conftest import Warehouse

PAGES = [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n+((?:\|[^\n]*\n)*)", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^ {4}[^\n]*\n)+", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:\S*/)?(perp|make|dbt)(?= |$)")
READS_THE_LAKE = ("perp status",)
READS_EXPORTS = "exports.md"  # its programs are run by tests/export, which makes exports


class Block(NamedTuple):
    page: str
    language: str
    text: str
    table: str

    @property
    def name(self) -> str:
        return f"{self.page}: {self.text.strip().splitlines()[0][:50]}"


def blocks(*languages: str) -> list[Block]:
    """Fenced blocks of the pages in some languages."""
    found = [
        Block(page.name, *match) for page in PAGES for match in FENCE.findall(page.read_text())
    ]
    return [b for b in found if b.language in languages]


def named(items: list[Block]) -> list[object]:
    return [pytest.param(b, id=b.name) for b in items]


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of every command that the pages mention."""
    for page in PAGES:
        text = page.read_text()
        prose = FENCE.sub("", text)
        code = [t for _, language, t, _ in blocks_of(text) if language in ("", "sh", "console")]
        lines = "\n".join([*code, *INDENTED.findall(prose)]).replace("\\\n", " ").splitlines()
        for line in [*lines, *INLINE.findall(INDENTED.sub("", prose))]:
            for part in re.split(r"&&|;", line.removeprefix("$ ").split(" #")[0]):
                plain = re.sub(r"^(?:\s*(?:export\s+)?\w+=\S+)*\s*|[\[\]]", "", part).strip()
                if COMMAND.match(plain) and plain not in ("perp", "make", "dbt"):
                    yield page.name, plain


def blocks_of(text: str) -> list[tuple[str, str, str, str]]:
    return [("", *match) for match in FENCE.findall(text)]


def answer(warehouse: Warehouse, query: str) -> str:
    """The rows of a query as a Markdown table."""
    with connect(warehouse.path) as connection:
        result = connection.execute(query)
        names = [column[0] for column in result.description]
        rows = [["" if x is None else f"{x}" for x in row] for row in result.fetchall()]
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def test_the_pages_show_queries_programs_and_commands():
    assert len(blocks("sql")) >= 12
    assert len([b for b in blocks("sql") if b.page == "a_liquidation_cascade.md" and b.table]) == 7
    assert blocks("python")
    assert blocks("console")
    assert len(set(commands())) > 40
    known = {"sql", "python", "console", "sh", "text", "yaml", "csv", "ini", "jinja"}
    known |= {"markdown", "py"}  # py: a part of a program
    unknown = {
        (p.name, language)
        for p in PAGES
        for language, *_ in FENCE.findall(p.read_text())
        if language not in known
    }
    assert unknown == set()


def test_links_between_pages_lead_somewhere():
    broken = [
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("block", named(blocks("sql")))
def test_queries_run_and_answers_are_those_of_the_sandbox(sandbox: Warehouse, block: Block):
    if "{{" in block.text:
        pytest.skip("a model, not a query")
    printed = answer(sandbox, block.text)
    assert printed.count("\n") > 2, "no rows"
    assert block.table in ("", printed)


@pytest.mark.parametrize("block", named(blocks("py")))
def test_parts_of_programs_are_python(block: Block):
    compile(textwrap.dedent(block.text), block.name, "exec")


@pytest.fixture
def project(sandbox: Warehouse, tmp_path: Path) -> Path:
    """A folder that looks like the project after `make warehouse`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/warehouse.duckdb").symlink_to(sandbox.path)
    (tmp_path / "data/lake").symlink_to(sandbox.lake)
    published = tmp_path / "data/published/current"
    published.mkdir(parents=True)
    (published / "warehouse.duckdb").symlink_to(sandbox.path)
    return tmp_path


@pytest.mark.parametrize("block", named([b for b in blocks("python") if b.page != READS_EXPORTS]))
def test_programs_run(project: Path, block: Block):
    result = subprocess.run(
        [sys.executable, "-c", block.text], cwd=project, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for name in re.findall(r'write_html\("([^"]+)"', block.text):
        assert (project / name).stat().st_size > 10_000


@pytest.mark.parametrize("block", named(blocks("console")))
def test_commands_print_what_the_page_shows(project: Path, block: Block):
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        if not command.startswith(READS_THE_LAKE):
            continue
        program, *arguments = shlex.split(command)
        result = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            env={**os.environ, "PERP_LAKE": "data/lake"},
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        pattern = re.escape(shown.strip()).replace("…", ".*")
        assert re.fullmatch(pattern, result.stdout.strip()), result.stdout


def parse(program: click.Command, words: list[str]) -> None:
    """Parse as the program would; raises click.UsageError for what it would refuse."""
    parent = None
    while isinstance(program, click.Group):
        name = next((i for i, word in enumerate(words) if not word.startswith("-")), None)
        if name is None:
            return  # a group is mentioned
        found = program.commands.get(words[name])
        if found is None:
            raise click.UsageError(f"no command {words[name]}")
        parent = click.Context(program, info_name=program.name, parent=parent)
        program, words = found, words[:name] + words[name + 1 :]
    if words:  # a bare name is a mention, and may lack arguments
        with program.make_context(program.name, words, parent=parent):
            pass


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_commands_are_real(page: str, command: str):
    program, *words = shlex.split(command)
    name = Path(program).name
    words = [w for w in words if w not in ("…", "...")]
    if name == "make":
        targets = re.findall(r"^([\w-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets), page
        return
    if words[:1] == ["build"] and name == "perp":  # what follows goes to dbt
        name = "dbt"
    try:
        parse(perp_cli if name == "perp" else dbt_cli, words)
    except click.exceptions.Exit:
        pass  # --help
    except click.ClickException as error:
        pytest.fail(f"{page}: {command}: {error.format_message()}")
