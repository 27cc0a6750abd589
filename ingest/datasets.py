"""The dataset registry: the single place that says what a dataset is.

For every dataset it holds the archive directory and cadences, the columns of the upstream CSV by
position, the header lines seen in the wild, the lake schema, the natural key and the grain.
Planning, parsing, the lake, the sandbox, the dbt source checks and the docs read it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from ingest.names import pair

TIMESTAMP = pa.timestamp("us")  # without zone, always UTC

Cadence = Literal["monthly", "daily"]
Parse = Literal["epoch", "utc_text", "float", "int", "bool", "string", "symbol", "ignore"]

SIZE_BINS_PER_DECADE = 10  # a trade of 1,000 USDT falls into bin 30
SMALLEST_SIZE_BIN = -1  # below 1 USDT
LARGEST_SIZE_BIN = 8 * SIZE_BINS_PER_DECADE  # 100 million USDT and more


@dataclass(frozen=True)
class Field:
    """One CSV position: the lake column it becomes and how its text is read.

    ``epoch`` is an integer in ms, us or ns, decided per file; ``symbol`` is checked against the
    path and not stored; ``ignore`` is a placeholder that is not stored either.
    """

    name: str
    parse: Parse
    nullable: bool = False


@dataclass(frozen=True)
class Dataset:
    """One lake dataset of the archive and the upstream files that it is made from.

    Args:
        name: lake name, e.g. ``klines_1m``.
        archive_name: directory in the archive, e.g. ``klines``.
        interval: interval directory and file-name part, or None where the archive has none.
        cadences: which archive trees carry it.
        fields: CSV columns in file order.
        headers: accepted header lines; a file may also have none.
        time_column: lake column that orders rows and places them in a period.
        grain_minutes: expected spacing of rows, or None for event data.
        unique_key: rows are unique by ``time_column``; else only fully equal rows are duplicates.
        keep_position: store the date of the upstream daily file and the row's position in it.
        per_pair: the archive names the pair, not the contract.
        extra_prefixes: further prefixes that hold daily files, with ``{symbol}`` to fill in.
        stored: lake schema, where the lake keeps something else than the CSV's rows.
        made_with: dataset whose landing writes this one too; it has no files of its own.
        optional: written only on request.
        period_slack_minutes: how far past its period a file's rows may reach.
        max_csv_bytes: inflated size above which a file is refused.
    """

    name: str
    archive_name: str
    interval: str | None
    cadences: tuple[Cadence, ...]
    fields: tuple[Field, ...]
    headers: tuple[tuple[str, ...], ...]
    time_column: str
    grain_minutes: int | None
    unique_key: bool
    keep_position: bool = False
    per_pair: bool = False
    extra_prefixes: tuple[str, ...] = ()
    stored: pa.Schema | None = None
    made_with: str | None = None
    optional: bool = False
    period_slack_minutes: int = 0
    max_csv_bytes: int = 64 << 20
    source: str = "vision"

    @property
    def schema(self) -> pa.Schema:
        """Lake schema: stored fields in CSV order, then the position columns where kept."""
        if self.stored is not None:
            return self.stored
        arrow = {
            "epoch": TIMESTAMP,
            "utc_text": TIMESTAMP,
            "float": pa.float64(),
            "int": pa.int64(),
            "bool": pa.bool_(),
            "string": pa.string(),
        }
        columns = [
            pa.field(f.name, arrow[f.parse], nullable=f.nullable)
            for f in self.fields
            if f.parse in arrow
        ]
        if self.keep_position:
            columns.append(pa.field("file_date", pa.date32(), nullable=False))
            columns.append(pa.field("file_row", pa.int64(), nullable=False))
        return pa.schema(columns)

    @property
    def rows_per_day(self) -> int | None:
        """Rows of a complete day, or None for event data."""
        return None if self.grain_minutes is None else 1440 // self.grain_minutes

    def archive_symbol(self, symbol: str) -> str:
        """The name that the archive files this contract's data under."""
        return pair(symbol) if self.per_pair else symbol

    def prefixes(self, cadence: Cadence, symbol: str) -> tuple[str, ...]:
        """Archive prefixes (ending in ``/``) that hold this symbol's files of a cadence."""
        if cadence not in self.cadences:
            return ()
        symbol = self.archive_symbol(symbol)
        interval = f"{self.interval}/" if self.interval else ""
        main = f"data/futures/um/{cadence}/{self.archive_name}/{symbol}/{interval}"
        extra = self.extra_prefixes if cadence == "daily" else ()
        return (main, *(p.format(symbol=symbol) for p in extra))

    def file_name(self, symbol: str, period: str) -> str:
        """Archive file name of a period (``2024-01`` or ``2024-01-31``)."""
        return f"{self.archive_symbol(symbol)}-{self.interval or self.archive_name}-{period}.zip"


_BAR_HEADER = (
    "open_time", "open", "high", "low", "close", "volume", "close_time",
    "quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_PRICE_HEADER = (
    "open_time", "open", "high", "low", "close", "ignore", "close_time",
    "ignore", "ignore", "ignore", "ignore", "ignore",
)  # fmt: skip

_BAR_FIELDS = (
    Field("open_time", "epoch"),
    Field("open", "float"),
    Field("high", "float"),
    Field("low", "float"),
    Field("close", "float"),
    Field("volume", "float"),
    Field("close_time", "epoch"),
    Field("quote_volume", "float"),
    Field("trade_count", "int"),
    Field("taker_buy_volume", "float"),
    Field("taker_buy_quote_volume", "float"),
    Field("ignore", "ignore"),
)
# Mark, index and premium bars keep the twelve positions of klines, but only six mean anything.
_PRICE_FIELDS = (
    *_BAR_FIELDS[:5],
    Field("ignore", "ignore"),
    Field("close_time", "epoch"),
    *(Field("ignore", "ignore") for _ in range(5)),
)


_TICK_FIELDS = (
    Field("agg_trade_id", "int"),
    Field("price", "float"),
    Field("quantity", "float"),
    Field("first_trade_id", "int"),
    Field("last_trade_id", "int"),
    Field("transact_time", "epoch"),
    Field("is_buyer_maker", "bool"),
)


def _schema(kinds: dict[str, pa.DataType], nullable: tuple[str, ...] = ()) -> pa.Schema:
    return pa.schema([pa.field(n, t, nullable=n in nullable) for n, t in kinds.items()])


# Sums, prices and sizes are over sound ticks; times and ids over all rows of the minute.
TICK_MINUTES = _schema(
    {
        "minute_ts": TIMESTAMP,
        "trade_count": pa.int64(),
        "raw_trade_count": pa.int64(),
        "base_volume": pa.float64(),
        "quote_volume": pa.float64(),
        "buy_qty": pa.float64(),
        "sell_qty": pa.float64(),
        "buy_quote": pa.float64(),
        "sell_quote": pa.float64(),
        "buy_count": pa.int64(),
        "sell_count": pa.int64(),
        "buy_quote_sq": pa.float64(),
        "sell_quote_sq": pa.float64(),
        "buy_max_quote": pa.float64(),
        "sell_max_quote": pa.float64(),
        "price_first": pa.float64(),
        "price_last": pa.float64(),
        "price_high": pa.float64(),
        "price_low": pa.float64(),
        "first_transact_time": TIMESTAMP,
        "last_transact_time": TIMESTAMP,
        "first_agg_trade_id": pa.int64(),
        "last_agg_trade_id": pa.int64(),
        "n_bad": pa.int64(),
        "n_duplicates": pa.int64(),
        "n_out_of_order": pa.int64(),
    },
    nullable=(
        "buy_max_quote", "sell_max_quote", "price_first", "price_last", "price_high", "price_low",
        # a minute in which only duplicates fell
        "first_transact_time", "last_transact_time", "first_agg_trade_id", "last_agg_trade_id",
    ),
)  # fmt: skip
TICK_SIZES = _schema(
    {
        "hour_ts": TIMESTAMP,
        "side": pa.string(),  # B: the taker bought, S: the taker sold
        "bin": pa.list_(pa.int16()),
        "n": pa.list_(pa.int64()),
        "quote": pa.list_(pa.float64()),
    }
)


def _bars(name: str, archive_name: str, interval: str) -> Dataset:
    traded = archive_name == "klines"
    return Dataset(
        name=f"{name}_{interval}",
        archive_name=archive_name,
        interval=interval,
        cadences=("monthly", "daily"),
        fields=_BAR_FIELDS if traded else _PRICE_FIELDS,
        headers=(_BAR_HEADER,) if traded else (_PRICE_HEADER, _BAR_HEADER),
        time_column="open_time",
        grain_minutes={"1m": 1, "1h": 60}[interval],
        unique_key=True,
        per_pair=archive_name == "indexPriceKlines",
    )


_DATASETS = (
    *(
        _bars(name, archive_name, interval)
        for name, archive_name in (
            ("klines", "klines"),
            ("mark_price_klines", "markPriceKlines"),
            ("index_price_klines", "indexPriceKlines"),
            ("premium_index_klines", "premiumIndexKlines"),
        )
        for interval in ("1m", "1h")
    ),
    Dataset(
        name="funding_rate",
        archive_name="fundingRate",
        interval=None,
        cadences=("monthly",),
        fields=(
            Field("calc_time", "epoch"),
            Field("funding_interval_hours", "int"),
            Field("funding_rate", "float"),
        ),
        headers=(("calc_time", "funding_interval_hours", "last_funding_rate"),),
        time_column="calc_time",
        grain_minutes=None,
        unique_key=True,
    ),
    Dataset(
        name="metrics",
        archive_name="metrics",
        interval=None,
        cadences=("daily",),
        fields=(
            Field("create_time", "utc_text"),
            Field("symbol", "symbol"),
            Field("sum_open_interest", "float", nullable=True),
            Field("sum_open_interest_value", "float", nullable=True),
            Field("count_toptrader_long_short_ratio", "float", nullable=True),
            Field("sum_toptrader_long_short_ratio", "float", nullable=True),
            Field("count_long_short_ratio", "float", nullable=True),
            Field("sum_taker_long_short_vol_ratio", "float", nullable=True),
        ),
        headers=(
            (
                "create_time", "symbol", "sum_open_interest", "sum_open_interest_value",
                "count_toptrader_long_short_ratio", "sum_toptrader_long_short_ratio",
                "count_long_short_ratio", "sum_taker_long_short_vol_ratio",
            ),
        ),
        time_column="create_time",
        grain_minutes=5,
        unique_key=False,  # several rows may share a bucket; staging decides, in SQL
        keep_position=True,
        period_slack_minutes=10,  # end labels reach 00:00 of the next day, or a little later
    ),
    Dataset(
        name="liquidation_snapshot",
        archive_name="liquidationSnapshot",
        interval=None,
        cadences=("daily",),
        fields=(
            Field("time", "epoch"),
            Field("side", "string"),
            Field("order_type", "string"),
            Field("time_in_force", "string"),
            Field("original_quantity", "float"),
            Field("price", "float"),
            Field("average_price", "float"),
            Field("order_status", "string"),
            Field("last_fill_quantity", "float"),
            Field("accumulated_fill_quantity", "float"),
        ),
        headers=(
            (
                "time", "side", "order_type", "time_in_force", "original_quantity", "price",
                "average_price", "order_status", "last_fill_quantity", "accumulated_fill_quantity",
            ),
        ),
        time_column="time",
        grain_minutes=None,
        unique_key=False,
        extra_prefixes=("data3/liquidationSnapshot/{symbol}/",),
    ),
    Dataset(
        name="agg_trades_1m",
        archive_name="aggTrades",
        interval=None,
        cadences=("monthly", "daily"),
        fields=_TICK_FIELDS,
        headers=(
            tuple(f.name for f in _TICK_FIELDS),
            ("agg_trade_id", "price", "qty", *(f.name for f in _TICK_FIELDS[3:])),
        ),
        time_column="minute_ts",
        grain_minutes=None,  # a minute without trades has no row
        unique_key=True,
        max_csv_bytes=64 << 30,
        stored=TICK_MINUTES,
    ),
    Dataset(
        name="agg_trade_sizes_1h",
        archive_name="aggTrades",
        interval=None,
        cadences=(),
        fields=(),
        headers=(),
        time_column="hour_ts",
        grain_minutes=None,
        unique_key=False,
        stored=TICK_SIZES,
        made_with="agg_trades_1m",
    ),
    Dataset(
        name="agg_trades",
        archive_name="aggTrades",
        interval=None,
        cadences=(),
        fields=_TICK_FIELDS,
        headers=(),
        time_column="transact_time",
        grain_minutes=None,
        unique_key=False,
        made_with="agg_trades_1m",
        optional=True,
    ),
)  # fmt: skip

DATASETS: dict[str, Dataset] = {d.name: d for d in _DATASETS}


def own_files() -> list[str]:
    """Datasets that the archive has files of; the others are made with one of these."""
    return [d.name for d in _DATASETS if d.made_with is None]


def made_with(dataset: str, *, optional: bool) -> tuple[str, ...]:
    """Further datasets that the landing of ``dataset`` writes."""
    return tuple(
        d.name for d in _DATASETS if d.made_with == dataset and (optional or not d.optional)
    )
