"""The dataset registry: the single place that says what a dataset is.

For every dataset it holds the lake schema, the natural key and the grain; for those of the archive
also its directory and cadences, the columns of the upstream CSV by position and the header lines
seen in the wild. Planning, parsing, the lake, the sandbox, the dbt source checks and the docs read
it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow as pa

from ingest.names import pair

TIMESTAMP = pa.timestamp("us")  # without zone, always UTC

Cadence = Literal["monthly", "daily"]
Parse = Literal["epoch", "utc_text", "float", "int", "bool", "string", "symbol", "ignore"]

# Metrics files of this day and later label a row with the start of its five minutes.
METRICS_START_LABELS_FROM = date(2026, 6, 25)

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
    """One lake dataset, and where it comes from the archive, the files that it is made from.

    Args:
        name: lake name, e.g. ``klines_1m``.
        source: folder of the lake, named after where the data comes from.
        time_column: lake column that orders rows and places them in a period.
        grain_minutes: expected spacing of rows, or None for event data.
        unique_key: rows are unique by ``time_column``; else only fully equal rows are duplicates.
        stored: lake schema, where the lake keeps something else than the CSV's rows.
        key: columns that tell a row from others, where that is not ``time_column`` alone.
        archive_name: directory in the archive, e.g. ``klines``.
        interval: interval directory and file-name part, or None where the archive has none.
        cadences: which archive trees carry it.
        fields: CSV columns in file order.
        headers: accepted header lines; a file may also have none.
        keep_position: store the date of the upstream daily file and the row's position in it.
        per_pair: the archive names the pair, not the contract.
        extra_prefixes: further prefixes that hold daily files, with ``{symbol}`` to fill in.
        made_with: dataset whose landing writes this one too; it has no files of its own.
        optional: written only on request.
        period_slack_minutes: how far past its period a file's rows may reach.
        max_csv_bytes: inflated size above which a file is refused.
    """

    name: str
    time_column: str
    source: str = "vision"
    grain_minutes: int | None = None
    unique_key: bool = False
    stored: pa.Schema | None = None
    key: tuple[str, ...] = ()
    archive_name: str = ""
    interval: str | None = None
    cadences: tuple[Cadence, ...] = ()
    fields: tuple[Field, ...] = ()
    headers: tuple[tuple[str, ...], ...] = ()
    keep_position: bool = False
    per_pair: bool = False
    extra_prefixes: tuple[str, ...] = ()
    made_with: str | None = None
    optional: bool = False
    period_slack_minutes: int = 0
    max_csv_bytes: int = 64 << 20

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


_ARCHIVED = (
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
        time_column="hour_ts",
        grain_minutes=None,
        unique_key=False,
        stored=TICK_SIZES,
        made_with="agg_trades_1m",
    ),
    Dataset(
        name="agg_trades",
        fields=_TICK_FIELDS,
        time_column="transact_time",
        grain_minutes=None,
        unique_key=False,
        made_with="agg_trades_1m",
        optional=True,
    ),
)  # fmt: skip

MARKET = "_market"  # stands for all contracts: partitions and feeds of the whole market

_NUMBER = pa.float64()
_TEXT = pa.string()


def _pulled(
    name: str,
    time_column: str,
    columns: dict[str, pa.DataType],
    *,
    grain_minutes: int | None = None,
    nullable: tuple[str, ...] = (),
) -> Dataset:
    """A series that the API answers with, one row a time."""
    return Dataset(
        name=name,
        source="api",
        time_column=time_column,
        grain_minutes=grain_minutes,
        unique_key=True,
        key=(time_column,),
        stored=_schema({time_column: TIMESTAMP, **columns}, nullable),
    )


def _snapshot(
    name: str, columns: dict[str, pa.DataType], *, nullable: tuple[str, ...] = ()
) -> Dataset:
    """A state of the whole market, one row a contract and look; its symbol is ``MARKET``."""
    return Dataset(
        name=name,
        source="api",
        time_column="snapshot_time",
        key=("snapshot_time", "contract"),
        stored=_schema({"snapshot_time": TIMESTAMP, "contract": _TEXT, **columns}, nullable),
    )


def _ratio(name: str) -> Dataset:
    columns = {"long_short_ratio": _NUMBER, "long_share": _NUMBER, "short_share": _NUMBER}
    return _pulled(name, "timestamp", columns, grain_minutes=5, nullable=tuple(columns))


def _events(
    source: str,
    name: str,
    time_column: str,
    columns: dict[str, pa.DataType],
    key: tuple[str, ...],
    nullable: tuple[str, ...] = (),
    max_csv_bytes: int = 64 << 20,
) -> Dataset:
    """Events of one contract or, under the symbol ``MARKET``, of many; ``contract`` says whose."""
    return Dataset(
        name=name,
        source=source,
        time_column=time_column,
        key=key,
        stored=_schema({"contract": _TEXT, **columns}, nullable),
        max_csv_bytes=max_csv_bytes,
    )


_ORDER = {
    "side": _TEXT,  # SELL closes a long, BUY closes a short
    "order_type": _TEXT,
    "time_in_force": _TEXT,
    "original_quantity": _NUMBER,
    "price": _NUMBER,
    "average_price": _NUMBER,
    "order_status": _TEXT,
    "last_fill_quantity": _NUMBER,
    "accumulated_fill_quantity": _NUMBER,
}

_LIVE = (
    *(
        Dataset(
            name=d.name,
            source="api",
            time_column="open_time",
            grain_minutes=d.grain_minutes,
            unique_key=True,
            key=("open_time",),
            stored=d.schema,
        )
        for d in _ARCHIVED
        if d.name.endswith(("klines_1m", "klines_1h"))
    ),
    _pulled(
        "funding_rate",
        "funding_time",
        {"funding_rate": _NUMBER, "mark_price": _NUMBER, "rate_type": _TEXT},
        nullable=("mark_price", "rate_type"),
    ),
    _pulled(
        "open_interest_5m",
        "timestamp",
        {"sum_open_interest": _NUMBER, "sum_open_interest_value": _NUMBER},
        grain_minutes=5,
        nullable=("sum_open_interest", "sum_open_interest_value"),
    ),
    _ratio("top_position_ratio_5m"),
    _ratio("top_account_ratio_5m"),
    _ratio("global_account_ratio_5m"),
    _pulled(
        "taker_ratio_5m",
        "timestamp",
        {"buy_sell_ratio": _NUMBER, "buy_volume": _NUMBER, "sell_volume": _NUMBER},
        grain_minutes=5,
        nullable=("buy_sell_ratio", "buy_volume", "sell_volume"),
    ),
    _snapshot(
        "exchange_info",
        {
            "pair": _TEXT,
            "contract_type": _TEXT,
            "status": _TEXT,
            "onboard_date": TIMESTAMP,
            "delivery_date": TIMESTAMP,
            "base_asset": _TEXT,
            "quote_asset": _TEXT,
            "margin_asset": _TEXT,
            "underlying_type": _TEXT,
            "underlying_sub_type": _TEXT,  # several are joined with commas
            "tick_size": _NUMBER,
            "lot_size": _NUMBER,
            "min_notional": _NUMBER,
            "liquidation_fee": _NUMBER,
            "market_take_bound": _NUMBER,
        },
        nullable=(
            "onboard_date",
            "delivery_date",
            "underlying_type",
            "underlying_sub_type",
            "tick_size",
            "lot_size",
            "min_notional",
            "liquidation_fee",
            "market_take_bound",
        ),
    ),
    _snapshot(
        "funding_info",
        {"funding_interval_hours": pa.int64(), "rate_cap": _NUMBER, "rate_floor": _NUMBER},
        nullable=("rate_cap", "rate_floor"),
    ),
    _snapshot(
        "premium_index",
        {
            "time": TIMESTAMP,
            "mark_price": _NUMBER,
            "index_price": _NUMBER,
            "estimated_settle_price": _NUMBER,
            "last_funding_rate": _NUMBER,
            "interest_rate": _NUMBER,
            "next_funding_time": TIMESTAMP,
        },
        nullable=(
            "mark_price",
            "index_price",
            "estimated_settle_price",
            "last_funding_rate",
            "interest_rate",
            "next_funding_time",
        ),
    ),
    _snapshot("open_interest", {"time": TIMESTAMP, "open_interest": _NUMBER}),
    _events(
        "tardis",
        "liquidations",
        "local_timestamp",
        {
            "timestamp": TIMESTAMP,
            "local_timestamp": TIMESTAMP,
            "id": _TEXT,
            "side": _TEXT,  # buy: a short was liquidated
            "price": _NUMBER,
            "amount": _NUMBER,
        },
        key=("contract", "timestamp", "local_timestamp", "id", "side", "price", "amount"),
        nullable=("id",),
        max_csv_bytes=256 << 20,
    ),
    _events(
        "tardis",
        "derivative_ticker",
        "local_timestamp",
        {
            "timestamp": TIMESTAMP,
            "local_timestamp": TIMESTAMP,
            "funding_timestamp": TIMESTAMP,
            "funding_rate": _NUMBER,  # the running estimate of the next settlement
            "predicted_funding_rate": _NUMBER,
            "open_interest": _NUMBER,
            "last_price": _NUMBER,
            "index_price": _NUMBER,
            "mark_price": _NUMBER,
        },
        key=(),
        nullable=(
            "funding_timestamp",
            "funding_rate",
            "predicted_funding_rate",
            "open_interest",
            "last_price",
            "index_price",
            "mark_price",
        ),
        max_csv_bytes=64 << 30,
    ),
    _events(
        "stream",
        "liquidations",
        "receive_time",
        {
            "receive_time": TIMESTAMP,
            "event_time": TIMESTAMP,
            "trade_time": TIMESTAMP,
            **_ORDER,
            "connection": _TEXT,  # which connection of which recorder brought it
        },
        key=("contract", "side", "trade_time", "original_quantity", "price"),
    ),
    _events(
        "import",
        "liquidations",
        "trade_time",
        {"trade_time": TIMESTAMP, **_ORDER, "stated_value": _NUMBER, "file": _TEXT},
        key=("contract", "side", "trade_time", "original_quantity", "price"),
        nullable=("average_price", "stated_value"),
    ),
)

VISION: dict[str, Dataset] = {d.name: d for d in _ARCHIVED}
API: dict[str, Dataset] = {d.name: d for d in _LIVE if d.source == "api"}
TARDIS: dict[str, Dataset] = {d.name: d for d in _LIVE if d.source == "tardis"}
STREAM: dict[str, Dataset] = {d.name: d for d in _LIVE if d.source == "stream"}
IMPORT: dict[str, Dataset] = {d.name: d for d in _LIVE if d.source == "import"}
SOURCES: dict[str, dict[str, Dataset]] = {
    "vision": VISION,
    "api": API,
    "tardis": TARDIS,
    "stream": STREAM,
    "import": IMPORT,
}


def own_files() -> list[str]:
    """Datasets that the archive has files of; the others are made with one of these."""
    return [d.name for d in _ARCHIVED if d.made_with is None]


def made_with(dataset: str, *, optional: bool) -> tuple[str, ...]:
    """Further datasets that the landing of ``dataset`` writes."""
    return tuple(
        d.name for d in _ARCHIVED if d.made_with == dataset and (optional or not d.optional)
    )
