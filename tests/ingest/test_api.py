"""The API through the real ccxt client: genuine bodies, and the simulated exchange."""

from __future__ import annotations

import json
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pytest

from ingest.sources.binance_api import (
    ENDPOINTS,
    exchange_info_table,
    funding_info_table,
    open_interest_table,
    premium_index_table,
)
from ingest.sources.downloads import Failed
from tests.mirror import require_real_data

NOW = datetime(2026, 7, 8, 9, 28)


# ------------------------------------------------------------------------------ genuine bodies
def genuine(name: str) -> list:
    """Every genuine REST body of an endpoint, of July 2026."""
    paths = sorted((require_real_data() / "rest-fapi-raw-2026-07").rglob(f"fapi-v1-{name}*.json"))
    assert paths
    return [json.loads(path.read_text()) for path in paths]


def recorded(path: str) -> list[tuple[str, object]]:
    """(query, body) of every recorded answer of a path."""
    text = (require_real_data() / "rest-recorded-gocryptotrader" / "http.json").read_text()
    return [(r["queryString"], r["data"]) for r in json.loads(text)["routes"][path]["GET"]]


def test_exchange_info_of_820_contracts_loads():
    table = exchange_info_table(
        max(genuine("exchangeInfo"), key=lambda b: len(b["symbols"])), NOW
    ).to_pandas()
    table = table.set_index("contract")
    assert len(table) == 820
    assert {"币安人生USDT", "我踏马来了USDT", "龙虾USDT"} <= set(table.index)
    assert (table["contract_type"] == "TRADIFI_PERPETUAL").sum() == 118
    assert table["status"].value_counts().to_dict() == {
        "TRADING": 695, "SETTLING": 123, "PENDING_TRADING": 2,
    }  # fmt: skip
    assert table.loc["BTCUSDT", "onboard_date"] == pd.Timestamp("2019-09-08 17:55")
    assert (table["tick_size"] > 0).all()


def test_funding_info_and_premium_index_load():
    for body in genuine("fundingInfo"):
        table = funding_info_table(body, NOW)
        assert len(table) == 711
        hours = pd.Series(table["funding_interval_hours"]).value_counts()
        assert set(hours.index) == {1, 4, 8}
    for body in genuine("premiumIndex"):
        table = premium_index_table(body, NOW).to_pandas()
        assert len(table) in (1, 821, 822, 823)
        assert (table.set_index("contract").loc["BTCUSDT", ["mark_price", "index_price"]] > 0).all()


def test_genuine_settlements_load_with_their_jitter():
    for body in genuine("fundingRate"):
        table = ENDPOINTS["funding_rate"].table(body).to_pandas()
        assert len(table) == len(body) > 0
        late = table["funding_time"] - table["funding_time"].dt.floor("min")
        assert late.max() < pd.Timedelta(milliseconds=20)
    old = [b for q, b in recorded("/fapi/v1/fundingRate") if isinstance(b, list)]
    for body in old:
        assert ENDPOINTS["funding_rate"].table(body)["mark_price"].null_count == len(body)


@pytest.mark.parametrize(
    ("path", "dataset"),
    [
        ("/fapi/v1/klines", "klines_1m"),
        ("/futures/data/openInterestHist", "open_interest_5m"),
        ("/futures/data/topLongShortPositionRatio", "top_position_ratio_5m"),
        ("/futures/data/topLongShortAccountRatio", "top_account_ratio_5m"),
        ("/futures/data/globalLongShortAccountRatio", "global_account_ratio_5m"),
        ("/futures/data/takerlongshortRatio", "taker_ratio_5m"),
    ],
)
def test_recorded_answers_load(path: str, dataset: str):
    endpoint = ENDPOINTS[dataset]
    for query, body in recorded(path):
        table = endpoint.table(body)
        assert len(table) == len(body), query
        assert all(column.null_count == 0 for column in table.columns), query
        times = table[endpoint.dataset.time_column].to_pylist()
        assert times == sorted(times)


def test_current_open_interest_loads():
    bodies = [body for _, body in recorded("/fapi/v1/openInterest")]
    table = open_interest_table(bodies, NOW)
    assert table["open_interest"].to_pylist() == [83782.317]


def test_a_body_of_another_shape_is_an_error_that_shows_it():
    for rows in ([{"code": -1121}], [[1, 2]], ["x"], [[None] * 12]):
        with pytest.raises(Failed, match=r"klines_1m (is not understood|lacks open_time)"):
            ENDPOINTS["klines_1m"].table(rows)
    assert ENDPOINTS["klines_1m"].table([]).schema.equals(ENDPOINTS["klines_1m"].dataset.schema)
    assert isinstance(ENDPOINTS["klines_1m"].table([]), pa.Table)
