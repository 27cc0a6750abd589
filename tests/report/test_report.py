"""The page tells what SQL tells, opens in a real browser without an error, and needs no network."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from ingest.cli import cli
from ingest.errors import PerpError, UsageError
from ingest.report import Choice, Outcome, write_report
from ingest.report.factors import stability_index
from tests.browser import Page, Tab, open_page, visit
from tests.conftest import Warehouse
from tests.report.made import make_empty, make_warehouse

READY = "document.body && document.body.dataset.ready === 'yes'"
PLOTS = "document.querySelectorAll('.plot .main-svg').length"
SECTIONS = ["In short", "Coverage", "Gaps", "Files refused or failed", "Reconciliation"]
SECTIONS += ["Factor health", "One symbol", "Factor evaluation", "Builds"]
HOSTILE = [
    "BTCUSDT",
    "<script>document.title = 'taken'</script>",
    "</script><img src=x onerror=\"document.title = 'taken'\">",
    "\"'>&lt;b&gt;",
    "%{y}<b>${1}</b>\u2028",
]


class Written:
    """A page and what was said when it was written."""

    def __init__(self, warehouse: Path, path: Path, choice: Choice | None = None) -> None:
        self.warehouse, self.path = warehouse, path
        self.outcome: Outcome = write_report(warehouse, path, choice or Choice())
        self.text = path.read_text()
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.text)
        assert found
        self.data: dict[str, Any] = json.loads(found[1])

    def rows(self, section: str, name: str) -> list[dict[str, Any]]:
        """Rows of a table by the titles of its columns."""
        table = self.data[section][name]
        titles = [c["title"] for c in table["columns"]]
        return [dict(zip(titles, row, strict=True)) for row in table["rows"]]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def of_sandbox(sandbox: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(sandbox.path, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def of_large(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("large")
    symbols = ["BTCUSDT", *(f"COIN{i}USDT" for i in range(89))]
    return Written(make_warehouse(folder / "w.duckdb", symbols, 62), folder / "report.html")


@pytest.fixture(scope="module")
def of_hostile(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("hostile")
    warehouse = make_warehouse(folder / "w<b>.duckdb", HOSTILE, 3)
    return Written(warehouse, folder / "report.html", Choice(symbol=HOSTILE[1]))


def assert_sound(page: Page) -> None:
    assert page.errors == []
    assert page.requests == page.requests[:1]
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page.dom) == SECTIONS


def cells(tab: Tab, table: str) -> list[list[str]]:
    """The text of a table's rows as they are shown."""
    query = f'[data-table="{table}"] tbody tr'
    return tab.evaluate(
        f"[...document.querySelectorAll('{query}')].map(r => [...r.cells].map(c => c.textContent))"
    )


# The numbers


def test_headline_and_gaps_are_those_of_the_warehouse(of_sandbox: Written) -> None:
    symbols, hours = of_sandbox.ask("select count(distinct symbol), count(*) from final_dataset")[0]
    text = html.unescape(re.sub(r"<[^>]+>", " ", of_sandbox.text.split('id="coverage"')[0]))
    assert re.search(rf"\b{symbols}\s+symbols\b", text)
    assert re.search(rf"\b{hours:,}\s+symbol hours\b", text)
    counted = {(r["Reason"], r["Dataset"]): r for r in of_sandbox.rows("gaps", "by_reason")}
    told = of_sandbox.ask("select reason, dataset, count(*), sum(hours) from gaps group by all")
    assert {k: (r["Gaps"], r["Hours"]) for k, r in counted.items()} == {
        (reason, dataset): (count, pytest.approx(total)) for reason, dataset, count, total in told
    }
    ledger = of_sandbox.rows("gaps", "ledger")
    assert len(ledger) == of_sandbox.ask("select count(*) from gaps")[0][0]
    assert [r["Hours"] for r in ledger] == sorted((r["Hours"] for r in ledger), reverse=True)


def test_coverage_cells_are_those_of_the_warehouse(of_sandbox: Written) -> None:
    coverage = of_sandbox.data["coverage"]
    for dataset, symbol, month, expected, present, missing in of_sandbox.ask(
        "select dataset, symbol, month, n_expected, n_present, n_missing from coverage"
    ):
        cell = coverage["symbols"].index(symbol) * len(coverage["months"])
        cell += coverage["months"].index(month)
        matrix = coverage["datasets"][dataset]
        assert (matrix["expected"][cell], matrix["present"][cell]) == (expected, present)
        assert sum(matrix["missing"].get(str(cell), [])) == missing
    hours = of_sandbox.ask("select count(*), count(*) filter (where ok) from liq_feed_coverage")[0]
    liquidations = coverage["datasets"]["liquidations"]
    assert hours == tuple(sum(filter(None, liquidations[n])) for n in ("expected", "present"))


def test_null_shares_and_medians_are_those_of_the_warehouse(of_sandbox: Written) -> None:
    factors = {r["Column"]: r for r in of_sandbox.rows("factors", "table")}
    columns = of_sandbox.ask(
        "select column_name from duckdb_columns() where table_name = 'final_dataset'"
    )
    assert list(factors) == [name for (name,) in columns]
    for name in ("close", "funding_rate", "long_liq_volume", "whale_cvd_quote", "bar_source"):
        (share, recent), *_ = of_sandbox.ask(
            f"""
            select count(*) filter (where {name} is null) / count(*),
                count(*) filter (where {name} is null and is_new) / count(*) filter (where is_new)
            from (
                select *, hour_ts >= (
                    select max(hour_ts) + interval 1 hour - interval 30 day from final_dataset
                ) as is_new from final_dataset
            )
            """
        )
        assert factors[name]["NULL"] == pytest.approx(share, abs=1e-5), name
        assert factors[name]["NULL, 30 days"] == pytest.approx(recent, abs=1e-5), name
    low, high = of_sandbox.ask(
        "select quantile_cont(g_z168_cvd_quote, [0.45, 0.55]) from final_dataset"
    )[0][0]
    assert low < factors["g_z168_cvd_quote"]["Median"] < high
    assert all(row["Inf, NaN"] == 0 for row in factors.values())
    assert all(row["Meaning"] and row["Family"] for row in factors.values())


def test_trouble_and_differences_are_those_of_the_warehouse(of_sandbox: Written) -> None:
    trouble = of_sandbox.rows("landing", "trouble")
    told = of_sandbox.ask(
        """select outcome, dataset, symbol, period from landing_files
        where is_current and outcome in ('quarantined', 'failed')"""
    )
    keys = ("Outcome", "Dataset", "Symbol", "Period")
    assert sorted(tuple(r[k] for k in keys) for r in trouble) == sorted(told) != []
    causes = {
        (r["Check"], r["First"], r["Second"], r["Cause"]): r["Differences"]
        for r in of_sandbox.rows("reconciliation", "causes")
    }
    told = of_sandbox.ask(
        "select check_name, dataset_a, dataset_b, cause, count(*) from reconciliation group by all"
    )
    assert causes == {tuple(key): count for *key, count in told}


def test_the_line_of_a_symbol_is_broken_where_a_value_is_missing(of_sandbox: Written) -> None:
    chart = of_sandbox.data["symbol"]
    rows = of_sandbox.ask(
        """select close, oi_open_interest_usd, cvd_quote,
            sum(coalesce(cvd_quote, 0)) over (order by hour_ts)
        from final_dataset where symbol = 'BTCUSDT' order by hour_ts"""
    )
    lines = {p["title"]: p["lines"][0]["values"] for p in chart["panels"]}
    assert (chart["symbol"], chart["absent"]) == ("BTCUSDT", [])
    assert lines["Price"] == pytest.approx([r[0] for r in rows], rel=1e-5)
    missing = [r[1] is None for r in rows]
    assert [v is None for v in lines["Open interest"]] == missing
    assert any(missing)
    sums = [total if value is not None else None for *_, value, total in rows]
    told = lines["Cumulative volume delta"]
    assert [v is None for v in told] == [v is None for v in sums]
    assert list(filter(None, told)) == pytest.approx(list(filter(None, sums)), rel=1e-5)


def test_facts_of_columns_that_are_never_there_or_not_finite(of_large: Written) -> None:
    factors = {r["Column"]: r for r in of_large.rows("factors", "table")}
    assert factors["never"]["NULL"] == 1
    assert factors["never"]["Distribution"] is None
    broken = of_large.ask("select count(*) from final_dataset where not isfinite(broken)")[0][0]
    assert factors["broken"]["Inf, NaN"] == broken > 0
    assert factors["broken"]["99 %"] < 31  # infinities are no part of the distribution
    assert factors["is_spike"]["Largest"] == 1
    assert len(of_large.rows("gaps", "ledger")) == 4 * 300
    assert (
        f"{of_large.data['gaps']['total'] - 1200:,} shorter ones"
        in (of_large.data["gaps"]["ledger"]["note"])
    )


def test_drift_is_the_population_stability_index() -> None:
    random = np.random.default_rng(5)
    whole, recent = random.normal(0, 1, 5000), random.normal(0.5, 1, 3000)
    edges = np.quantile(whole, np.arange(1, 10) / 10)
    counts = [np.bincount(np.digitize(v, edges), minlength=10) for v in (whole, recent)]
    share, new = counts[0] / 5000, counts[1] / 3000
    told = stability_index(*(c.tolist() for c in counts))
    assert told == pytest.approx(float(((new - share) * np.log(new / share)).sum()))
    assert 0.2 < told < 0.3  # of two normal distributions it is the square of the distance
    assert stability_index([5, 5], [5, 5]) == 0
    assert stability_index([5, 5], [0, 0]) is None


def test_the_t_value_is_that_of_all_hours_together(tmp_path: Path) -> None:
    hourly = np.random.default_rng(8).normal(0.02, 0.2, 900)
    months = {"2024-01": hourly[:700], "2024-02": hourly[700:899], "2024-03": hourly[899:]}
    warehouse = make_empty(tmp_path / "w.duckdb")
    with duckdb.connect(str(warehouse)) as connection:
        for month, values in months.items():
            deviation = float(values.std(ddof=1)) if len(values) > 1 else None
            row = ["momentum", month, 4, float(values.mean()), deviation, len(values)]
            connection.execute("insert into factor_ic values (?, ?, ?, ?, ?, ?)", row)
    written = Written(warehouse, tmp_path / "report.html")
    (row,) = written.rows("evaluation", "table")
    assert (row["Hours"], row["Months"]) == (900, 3)
    assert row["Mean IC"] == pytest.approx(hourly.mean(), rel=1e-4)
    told = hourly.mean() / hourly.std(ddof=1) * np.sqrt(900 / 4)
    assert row["t value"] == pytest.approx(told, rel=1e-4)


def test_a_range_leaves_out_what_is_outside(tmp_path: Path) -> None:
    warehouse = make_warehouse(tmp_path / "w.duckdb", ["BTCUSDT", "ETHUSDT"], 3)
    runner = CliRunner()
    arguments = ["report", "--warehouse", str(warehouse), "--to", str(tmp_path / "r.html")]
    arguments += ["--start", "2020-02-01", "--end", "2020-02-29", "--symbol", "ethusdt"]
    result = runner.invoke(cli, arguments, catch_exceptions=False)
    assert "chart of ETHUSDT" in result.stdout
    text = (tmp_path / "r.html").read_text()
    found = re.search(r'id="data">(.*?)</script>', text)
    assert found
    data = json.loads(found[1])
    assert data["coverage"]["months"] == ["2020-02"]
    assert (data["symbol"]["first"], data["symbol"]["hours"]) == (
        "2020-02-01T00:00:00",
        29 * 24 - 5,
    )
    assert all(r[4] > "2020-02" > r[3][:4] for r in data["gaps"]["ledger"]["rows"])


# In the browser


def test_the_sandbox_in_a_browser(of_sandbox: Written) -> None:
    with visit(of_sandbox.path, ready=READY) as tab:
        tab.page.dom = tab.evaluate("document.documentElement.outerHTML")
        assert tab.evaluate(PLOTS) == 6  # plotly draws each picture in three layers
        assert (
            tab.evaluate("document.querySelectorAll('#symbol-plot .scatterlayer .trace').length")
            == 7
        )
        titles = tab.evaluate(
            "[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)"
        )
        assert titles
        assert not any("hare" in t or "loud" in t for t in titles)  # nothing sends data away
        the_factors_can_be_searched_and_sorted(tab)
        the_keyboard_reaches_the_cells_of_the_heatmap(tab, of_sandbox)
        the_range_can_be_chosen(tab)
    assert_sound(tab.page)
    assert of_sandbox.outcome.bytes < 8e6


def the_factors_can_be_searched_and_sorted(tab: Tab) -> None:
    assert len(cells(tab, "factors.table")) == 40
    tab.evaluate("document.querySelector('[data-table=\"factors.table\"] input').focus()")
    tab.type("funding_rate")
    names = [row[1] for row in cells(tab, "factors.table")]
    assert {"funding_rate", "funding_rate_pred"} <= set(names)
    tab.evaluate(
        "(i => { i.value = ''; i.dispatchEvent(new Event('input')); })"
        "(document.querySelector('[data-table=\"factors.table\"] input'))"
    )
    clock = tab.evaluate(
        """(() => {
            const table = document.querySelector('[data-table="factors.table"]');
            const start = performance.now();
            const buttons = [...table.querySelectorAll('button')];
            buttons.find(b => b.textContent.startsWith('Show all')).click();
            buttons.find(b => b.textContent === 'NULL').click();
            return performance.now() - start;
        })()"""
    )
    shares = [float(re.sub("[ %<>]", "", row[2])) for row in cells(tab, "factors.table")]
    assert len(shares) == 517
    assert shares == sorted(shares, reverse=True)
    assert clock < 5000, "milliseconds to show and sort all columns"
    meaning = tab.evaluate(
        """(() => {
            const button = document.querySelector('[data-table="factors.table"] button.factor');
            button.click();
            return [button.title, document.querySelector('tr.meaning').textContent];
        })()"""
    )
    assert meaning[0] == meaning[1] != ""


def the_keyboard_reaches_the_cells_of_the_heatmap(tab: Tab, written: Written) -> None:
    tab.evaluate(
        """(list => { list.value = 'klines_1m'; list.dispatchEvent(new Event('change')); })
        (document.getElementById('coverage-dataset'))"""
    )
    tab.evaluate("document.getElementById('coverage-plot').focus()")
    tab.press("ArrowRight")
    tab.press("ArrowDown")
    coverage = written.data["coverage"]
    said = tab.evaluate("document.getElementById('coverage-cell').textContent")
    assert said.startswith(f"{coverage['symbols'][1]}, {coverage['months'][1]}; ")
    cell = len(coverage["months"]) + 1
    assert f"of {coverage['datasets']['klines_1m']['expected'][cell]:,} slots (minute)" in said


def the_range_can_be_chosen(tab: Tab) -> None:
    tab.evaluate("document.querySelector('[data-hours=\"168\"]').click()")
    assert tab.evaluate("document.getElementById('symbol-plot').data[0].y.length") == 168
    assert "168 hours" in tab.evaluate("document.getElementById('symbol-status').textContent")


def test_ninety_symbols_and_sixty_two_months(of_large: Written) -> None:
    with visit(of_large.path, width=500, dark=True, ready=READY) as tab:
        tab.page.dom = tab.evaluate("document.documentElement.outerHTML")
        assert tab.evaluate(PLOTS) == 6
        assert tab.evaluate("document.querySelectorAll('#coverage-plot .ytick text').length") == 90
        assert tab.evaluate("document.documentElement.scrollWidth") == 500
        shown = tab.evaluate("document.getElementById('coverage-plot').data[0].z.flat().length")
        assert shown == 90 * 62
        first = tab.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
        )
    assert_sound(tab.page)
    assert of_large.outcome.bytes < 12e6
    assert first < 20, "seconds to the first picture"


def test_hostile_names_are_shown_as_they_are(of_hostile: Written) -> None:
    with visit(of_hostile.path, ready=READY) as tab:
        tab.page.dom = tab.evaluate("document.documentElement.outerHTML")
        assert tab.evaluate("document.title") == "Report on w<b>.duckdb"
        assert tab.evaluate("document.querySelectorAll('img, main script, main b').length") == 0
        labels = tab.evaluate(
            "[...document.querySelectorAll('#coverage-plot .ytick text')].map(t => t.textContent)"
        )
        assert sorted(labels) == sorted(HOSTILE)
        ledger = {row[2] for row in cells(tab, "gaps.ledger")}
        assert ledger <= set(HOSTILE)
        assert tab.evaluate("document.querySelector('.controls strong').textContent") == HOSTILE[1]
    assert_sound(tab.page)


@pytest.mark.parametrize("tables", ["none", "empty"])
def test_an_empty_warehouse_says_what_is_missing(tmp_path: Path, tables: str) -> None:
    path = tmp_path / "w.duckdb"
    if tables == "none":
        duckdb.connect(str(path)).close()
    else:
        make_empty(path)
    written = Written(path, tmp_path / "report.html")
    page = open_page(written.path, ready=READY)
    assert_sound(page)
    said = re.findall(r'<p class="lacking">(.*?)</p>', page.dom)
    assert len(written.outcome.lacking) == 8 - (tables == "empty")
    assert len(said) >= len(written.outcome.lacking)


# The command


def run(*arguments: object, **environment: str) -> Any:
    runner = CliRunner(
        env={"PERP_PUBLISHED": "/nowhere", "PERP_WAREHOUSE": "/nowhere"} | environment
    )
    return runner.invoke(cli, ["report", *map(str, arguments)])


def test_the_published_file_is_read_unless_another_is_named(tmp_path: Path) -> None:
    current = tmp_path / "published/versions/20240301/warehouse.duckdb"
    current.parent.mkdir(parents=True)
    make_empty(current)
    (tmp_path / "published/current").symlink_to("versions/20240301")
    other = make_empty(tmp_path / "other.duckdb")
    target = tmp_path / "report.html"
    published = {"PERP_PUBLISHED": str(tmp_path / "published"), "PERP_WAREHOUSE": str(other)}
    assert "published/current/warehouse.duckdb" in run("--to", target, **published).stderr
    assert "20240301" in target.read_text()
    assert "other.duckdb" in run("--to", target, "--warehouse", other, **published).stderr
    assert "other.duckdb" in run("--to", target, PERP_WAREHOUSE=str(other)).stderr
    assert str(target) in run("--to", target, PERP_WAREHOUSE=str(other)).stdout


def test_what_cannot_be_done_is_said_and_the_old_page_stays(tmp_path: Path) -> None:
    warehouse = make_warehouse(tmp_path / "w.duckdb", ["BTCUSDT", "ETHUSDT"], 1)
    target = tmp_path / "report.html"
    target.write_text("old")
    for path, choice, message in (
        (tmp_path / "none.duckdb", Choice(), "there is no warehouse"),
        (warehouse, Choice(symbol="BTCUSD"), "final_dataset has no contract BTCUSD; did you mean"),
    ):
        with pytest.raises(UsageError, match=message):
            write_report(path, target, choice)
    with pytest.raises(UsageError, match="is a folder"):
        write_report(warehouse, tmp_path, Choice())
    with pytest.raises(UsageError, match="there is no folder"):
        write_report(warehouse, tmp_path / "a/b.html", Choice())
    (tmp_path / "text.duckdb").write_text("no database" * 1000)
    with pytest.raises(PerpError, match=r"cannot open the warehouse .*not a valid DuckDB"):
        write_report(tmp_path / "text.duckdb", target, Choice())
    assert run("--start", "2024-02-01", "--end", "2024-01-01").exit_code == 1
    assert target.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "text.duckdb", "w.duckdb"]
