"""What can be asked for, and what is said of what cannot."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import duckdb
import pytest

from ingest.cli import main
from ingest.config import Config
from ingest.dictionary import FAMILIES, dictionary, family_columns
from ingest.errors import UsageError
from ingest.export import formats
from ingest.export.source import Wish, open_source
from tests.export.tables import small_table, written


def select(warehouse: Path, numbers_only: bool = True, **wish: object) -> list[str]:
    with open_source(warehouse) as source:
        return source.select(Wish(**wish), numbers_only=numbers_only).names


def test_columns_come_in_the_order_asked_for_each_once(small: Path) -> None:
    assert select(small, columns=["volume", "close", "volume"]) == ["volume", "close"]


def test_keys_are_in_every_export_and_no_columns(small: Path) -> None:
    assert select(small, columns=["symbol", "datetime", "feature_time", "close"]) == ["close"]


def test_case_of_a_column_does_not_matter(small: Path) -> None:
    assert select(small, columns=["SHAPE_skewvol"]) == ["shape_skewVol"]


def test_families_add_their_columns(small: Path) -> None:
    bars = ["open", "high", "low", "close", "volume", "trade_count", "vwap"]
    assert select(small, families=["a"]) == bars
    assert select(small, columns=["is_stable"], families=["A"]) == ["is_stable", *bars]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"columns": ["volum"]}, "final_dataset has no column volum; did you mean volume"),
        ({"columns": ["zzzzz"]}, "has no column zzzzz; make docs lists them all"),
        ({"columns": ["y_logret_1h"]}, "y_logret_1h is a label, and exports hold features only"),
        ({"columns": ["bar_source"]}, "none of the columns asked for is a number"),
        ({"columns": []}, "no column is asked for"),
        ({"families": ["Q"]}, "no family 'Q'; choose from A (hourly_bars), B"),
        ({"symbols": ["BTCUSD"]}, "has no contract BTCUSD; did you mean BTCUSDT"),
        ({"symbols": []}, "--symbols is empty"),
        (
            {"start": date(2030, 1, 1)},
            "no row has these symbols and days; the table holds 2024-01-01 00:00:00 to "
            "2024-01-03 11:00:00",
        ),
    ],
)
def test_what_cannot_be_had_is_said(small: Path, wish: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(small, **wish)
    assert said in str(caught.value)


def test_labels_are_no_part_of_exports(tmp_path: Path) -> None:
    warehouse = small_table(tmp_path / "w.duckdb")
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("alter table final_dataset add column y_logret_1h double")
    assert "y_logret_1h" not in select(warehouse)


def test_names_that_qlib_would_not_tell_apart_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot tell the fields skewVol and skewvol apart"):
        formats._lower_case(["close", "skewVol", "skewvol"], "fields")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTCUSDT_240329", "BTCUSDT_240329"),
        ("币安人生USDT", "币安人生USDT"),
        ("..", "%2E%2E"),
        ("A/B", "A%2FB"),
        ("x\0", "x%00"),
    ],
)
def test_symbols_are_safe_in_file_names(symbol: str, name: str) -> None:
    assert formats.file_name(symbol) == name


def test_every_column_of_the_dictionary_has_a_family_or_is_a_key() -> None:
    without = {name for name, entry in dictionary().items() if entry.family is None}
    assert without == {"symbol", "hour_ts", "bar_end_time", "feature_time"} | {
        "has_bar", "listing_segment"
    }  # fmt: skip
    assert sum(len(family_columns(letter)) for letter in FAMILIES) + 6 == len(dictionary())
    close = dictionary()["close"]
    assert close.unit == "quote currency"
    assert close.meaning is not None
    assert close.meaning.startswith("Last price of the hour")
    assert not any("{{" in (entry.meaning or "") for entry in dictionary().values())


def test_published_file_comes_before_the_warehouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERP_PUBLISHED", raising=False)  # it is beside the warehouse then
    config = Config.from_env(warehouse=tmp_path / "w.duckdb")
    assert config.file_to_read() == tmp_path / "w.duckdb"
    version = tmp_path / "published" / "versions" / "20240101T000000Z"
    version.mkdir(parents=True)
    small_table(version / "warehouse.duckdb")
    (tmp_path / "published" / "current").symlink_to(version)
    published = config.file_to_read()
    assert published == tmp_path / "published" / "current" / "warehouse.duckdb"
    assert config.file_to_read(tmp_path / "other.duckdb") == tmp_path / "other.duckdb"
    written("npz", published)
    manifest = json.loads((tmp_path / "published" / "current" / "npz" / "export.json").read_text())
    assert manifest["source"]["published_version"] == "20240101T000000Z"


def test_the_file_must_hold_the_table(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "w.duckdb")).close()
    with pytest.raises(UsageError, match="holds no table final_dataset"):
        select(tmp_path / "w.duckdb")


def test_only_data_go_to_stdout(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """DuckDB would draw a bar there when a query takes seconds."""
    with open_source(small) as source:
        table = source.arrow("select current_setting('enable_progress_bar') as bar", [])
    assert table["bar"].to_pylist() == [False]
    written("parquet", small)
    assert capfd.readouterr().out == ""


def perp(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of a command."""
    monkeypatch.setattr("sys.argv", ["perp", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_command(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--warehouse", small, "--to", tmp_path / "out")
    assert perp(monkeypatch, "export", "npz", *where) == 0
    out, err = capsys.readouterr()
    assert "left out, because they are text: bar_source" in out
    assert "npz: 212 rows of 5 symbols, 13 columns, 2024-01-01T00:00:00 to" in out
    assert f"reading {small}" in err
    assert perp(monkeypatch, "export", "npz", *where, "--columns", "close", "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in manifest["columns"]] == ["close"]
    assert "float32" in manifest["precision"]
    assert perp(monkeypatch, "export", "npz", *where, "--columns", "clse") == 2
    assert "did you mean close" in capsys.readouterr().err
    backwards = ("--start", "2024-02-01", "--end", "2024-01-01")
    assert perp(monkeypatch, "export", "npz", *where, *backwards) == 2
    assert perp(monkeypatch, "export", "npz", *where, "--mask", "is_stable") == 2
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == manifest
