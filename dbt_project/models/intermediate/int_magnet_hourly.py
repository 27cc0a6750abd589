"""Where positions that still stand would be liquidated, estimated from open interest and prices.

A row depends on every row before it in its listing segment, so the map is carried from hour to
hour. The rows come in order and in batches, and only the map of one segment is in memory. The row
that ends a month keeps the map, from which the next month goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

WARM_UP = 48  # hours with fresh open interest before the map says something
PULL_RANGE = 0.03  # a cluster so much farther away, in log price, pulls e times less
TIE = 1e-9  # a mass that is less than this below the largest, relatively, is as large
SMALLEST_SCALE = 1e-100
BATCH_ROWS = 50_000

KEYS = [("symbol", pa.string()), ("hour_ts", pa.timestamp("us")), ("listing_segment", pa.int32())]
MEASURES = [
    "distance_to_max_liq",
    "distance_to_max_liq_up",
    "distance_to_max_liq_dn",
    "magnet_max_share",
    "magnet_pull",
]
SCHEMA = pa.schema(
    [*KEYS, *((name, pa.float64()) for name in MEASURES), ("map", pa.list_(pa.float64()))]
)
SPARK_SCHEMA = ", ".join(
    ["symbol string", "hour_ts timestamp_ntz", "listing_segment int"]
    + [f"{name} double" for name in MEASURES]
    + ["map array<double>"]
)

Segment = tuple[str, int]  # symbol and listing segment
Tier = tuple[float, float, float]  # leverage, weight, maintenance
Measures = tuple[float | None, float | None, float | None, float | None, float | None]
NOTHING: Measures = (None, None, None, None, None)


class Standing(NamedTuple):
    """What stands on one side, the nearest bin first."""

    start: int  # depth of the first mass
    masses: np.ndarray
    most: float  # the largest
    cluster: int  # position of the nearest that is as large
    total: float
    pull: float  # seen from the first bin


def nearest(masses: np.ndarray, largest: float) -> int:
    """Position of the nearest mass that is as large as the largest."""
    return int((masses >= largest * (1 - TIE)).argmax())


class Side:
    """The masses of one side of the price by depth: the bin for shorts, its negative for longs.

    The price comes from lower depths, so the nearest level is the first on either side.
    """

    def __init__(self, direction: int, width: float) -> None:
        self.direction = direction
        self.width = width
        self.masses = np.zeros(0)
        self.first = 0  # depth of the first item of masses
        self.nearest = 0  # no mass is less deep
        self.end = 0  # no mass was ever as deep
        self.standing: Standing | None = None
        self.changed = False  # since standing was made
        self.weighing = np.zeros((2, 0))

    def add(self, masses: dict[int, float]) -> None:
        """Add to the masses of some depths."""
        nearest, end = min(masses), max(masses) + 1
        if not len(self.masses):
            self.first = self.nearest = self.end = nearest
        before = max(self.first - nearest, 0)
        after = max(end - self.first - len(self.masses), 0)
        if before or after:  # with room to spare, so that it stays rare
            room = 64 + len(self.masses)
            before, after = before and before + room, after and after + room
            self.masses = np.concatenate([np.zeros(before), self.masses, np.zeros(after)])
            self.first -= before
        for depth, mass in masses.items():
            self.masses[depth - self.first] += mass
        self.nearest = min(self.nearest, nearest)
        self.end = max(self.end, end)
        self.changed = True

    def sweep(self, extreme: int) -> None:
        """Empty every bin up to that of the hour's extreme price."""
        depth = self.direction * extreme
        if depth >= self.nearest:
            self.masses[: depth + 1 - self.first] = 0
            self.nearest = depth + 1
            self.changed = True

    def shrink(self, factor: float) -> None:
        self.masses *= factor
        self.changed = True

    def pack(self) -> list[float]:
        """How many masses stand, how deep the first is, and they."""
        masses = self.masses[self.nearest - self.first : self.end - self.first]
        return [float(len(masses)), float(self.nearest), *masses.tolist()]

    def unpack(self, numbers: Sequence[float]) -> int:
        """Put back what was packed; returns how many numbers it was."""
        n = int(numbers[0])
        self.first = self.nearest = int(numbers[1])
        self.end = self.nearest + n
        self.masses = np.array(numbers[2 : 2 + n])
        self.changed = True
        return 2 + n

    def look(self) -> Standing | None:
        """What stands, None if nothing does. Most hours leave one side as it was."""
        if self.changed:
            self.standing = self._look()
            self.changed = False
        return self.standing

    def _look(self) -> Standing | None:
        masses = self.masses[self.nearest - self.first : self.end - self.first]
        if not len(masses):
            return None
        peak = int(masses.argmax())
        most = float(masses[peak])
        if not most > 0:
            return None
        if self.weighing.shape[1] < len(masses):  # 1, and how much less than the first a bin pulls
            fading = np.exp(-np.arange(2 * len(masses)) * self.width / PULL_RANGE)
            self.weighing = np.vstack([np.ones(len(fading)), fading])
        total, pull = (self.weighing[:, : len(masses)] @ masses).tolist()
        cluster = nearest(masses[: peak + 1], most)
        return Standing(self.nearest, masses, most, cluster, total, pull)


class Map:
    """The standing positions of one listing segment.

    The masses are stored divided by a common scale: then decay and exits, which shrink all of them
    alike, change one number.
    """

    def __init__(self, tiers: Sequence[Tier], width: float, half_life: float) -> None:
        self.weights = [weight for _, weight, _ in tiers]
        self.width = width
        self.decay = 2 ** (-1 / half_life)
        self.scale = 1.0
        self.longs, self.shorts = Side(-1, width), Side(1, width)
        self.open_interest = math.nan
        self.n_fresh = 0

    def pack(self) -> list[float]:
        """All that the hours to come need."""
        head = [self.scale, self.open_interest, float(self.n_fresh)]
        return [*head, *self.longs.pack(), *self.shorts.pack()]

    def unpack(self, numbers: Sequence[float]) -> None:
        """Put back what was packed."""
        self.scale, self.open_interest, self.n_fresh = numbers[0], numbers[1], int(numbers[2])
        end = 3 + self.longs.unpack(numbers[3:])
        self.shorts.unpack(numbers[end:])

    def advance(
        self, open_interest: float, low: int | None = None, high: int | None = None
    ) -> float:
        """Let an hour pass. Return the contracts opened in it, 0 where that is not known."""
        self.scale *= self.decay
        if low is not None and high is not None:
            self.longs.sweep(low)
            self.shorts.sweep(high)
        before, self.open_interest = self.open_interest, open_interest
        self.n_fresh += not math.isnan(open_interest)
        opened = open_interest - before
        if opened < 0:
            self.scale *= open_interest / before
        if self.scale < SMALLEST_SCALE:
            self.longs.shrink(self.scale)
            self.shorts.shrink(self.scale)
            self.scale = 1.0
        return opened if opened > 0 else 0.0

    def enter(self, value: float, low: int, high: int, longs: list[int], shorts: list[int]) -> None:
        """Spread a value over the tiers' levels that the hour has not crossed, on either side."""
        for side, extreme, levels in ((self.longs, low, longs), (self.shorts, high, shorts)):
            masses: dict[int, float] = {}
            for level, weight in zip(levels, self.weights, strict=True):
                depth = side.direction * level
                if depth > side.direction * extreme:
                    masses[depth] = masses.get(depth, 0.0) + value * weight / self.scale
            if masses:
                side.add(masses)

    def measure(self, log_close: float) -> Measures:
        """The measures of an hour with a bar."""
        if self.n_fresh < WARM_UP:
            return NOTHING
        sides = [
            (side.direction, standing)
            for side in (self.longs, self.shorts)
            if (standing := side.look())
        ]
        if not sides:
            return NOTHING
        largest = max([standing.most for _, standing in sides])
        total = net_pull = whole_pull = 0.0
        distances: dict[int, float] = {}
        rivals: list[tuple[float, float, float]] = []
        for direction, standing in sides:
            position = standing.cluster
            distance = self._distance(direction * (standing.start + position), log_close)
            distances[direction] = distance
            if standing.most >= largest * (1 - TIE):
                if standing.most < largest:
                    position = nearest(standing.masses, largest)
                    distance = self._distance(direction * (standing.start + position), log_close)
                mass = float(standing.masses[position])
                rivals.append((abs(distance), distance, mass))
            first = self._distance(direction * standing.start, log_close)
            pull = standing.pull * math.exp(-abs(first) / PULL_RANGE)
            total += standing.total
            net_pull += direction * pull
            whole_pull += pull
        _, distance, mass = min(rivals)  # the nearest, of two equally near the lower
        return (
            distance,
            distances.get(self.shorts.direction),
            distances.get(self.longs.direction),
            mass / total,
            net_pull / whole_pull if whole_pull > 0 else None,
        )

    def _distance(self, level: int, log_close: float) -> float:
        """From the close to the centre of a bin."""
        return (level + 0.5) * self.width - log_close


def bins(prices: np.ndarray, width: float) -> np.ndarray:
    """The bin of the log price; 0 where there is no price."""
    there = np.where(prices > 0, prices, 1.0)
    return np.floor(np.log(there) / width).astype(np.int64)


def ends_month(hours: np.ndarray) -> np.ndarray:
    """Whether the hour is the last of its month."""
    following = hours.astype("datetime64[h]") + 1
    return following == following.astype("datetime64[M]")


def magnet(
    hours: Iterable[pa.RecordBatch],
    tiers: Sequence[Tier],
    width: float,
    half_life: float,
    maps: Mapping[Segment, Sequence[float]],
) -> Iterator[pa.RecordBatch]:
    """The measures of each hour. Segments come one after another, their hours in order.

    Args:
        maps: what a segment's map was before the first of its hours, where it began before.
    """
    leverage, _, maintenance = np.array(tiers).T
    long_factors, short_factors = 1 - 1 / leverage + maintenance, 1 + 1 / leverage - maintenance

    def map_of(segment: Segment | None) -> Map:
        positions = Map(tiers, width, half_life)
        if segment in maps:
            positions.unpack(maps[segment])
        return positions

    segment, positions = None, map_of(None)
    for batch in hours:
        if not batch.num_rows:
            continue
        prices = {
            name: batch[name].to_numpy(zero_copy_only=False)
            for name in ("high", "low", "close", "entry_price", "open_interest")
        }
        entries = prices["entry_price"][:, None]
        rows = zip(
            zip(batch["symbol"].to_pylist(), batch["listing_segment"].to_pylist(), strict=True),
            prices["close"].tolist(),
            bins(prices["low"], width).tolist(),
            bins(prices["high"], width).tolist(),
            prices["entry_price"].tolist(),
            bins(entries * long_factors, width).tolist(),
            bins(entries * short_factors, width).tolist(),
            prices["open_interest"].tolist(),
            ends_month(batch["hour_ts"].to_numpy(zero_copy_only=False)).tolist(),
            strict=True,
        )
        measured: list[Measures] = []
        kept: list[list[float] | None] = []
        for key, close, low, high, entry, longs, shorts, open_interest, is_end in rows:
            if key != segment:
                segment, positions = key, map_of(key)
            if close > 0:
                opened = positions.advance(open_interest, low, high)
                if opened and entry > 0:
                    positions.enter(opened * entry, low, high, longs, shorts)
                measured.append(positions.measure(math.log(close)))
            else:  # no bar
                positions.advance(open_interest)
                measured.append(NOTHING)
            kept.append(positions.pack() if is_end else None)
        yield pa.record_batch(
            [
                *(batch[name].cast(kind) for name, kind in KEYS),
                *(pa.array(values, pa.float64()) for values in zip(*measured, strict=True)),
                pa.array(kept, pa.list_(pa.float64())),
            ],
            schema=SCHEMA,
        )


def maps_before(dbt: Any, session: Any, since: str) -> dict[Segment, list[float]]:  # noqa: ANN401
    """The maps as the month before ended; none if nothing is built yet."""
    query = f"""select symbol, listing_segment, map from {dbt.this}
        where hour_ts = timestamp '{since}' - interval '1' hour and map is not null"""  # noqa: S608
    if is_spark(session):
        rows = session.sql(query).collect() if session.catalog.tableExists(str(dbt.this)) else []
    else:
        try:
            rows = session.execute(query).fetchall()
        except duckdb.CatalogException:
            rows = []
    return {(symbol, segment): numbers for symbol, segment, numbers in rows}


def is_spark(session: Any) -> bool:  # noqa: ANN401
    """Whether the session is Spark's, not DuckDB's."""
    return type(session).__module__.startswith("pyspark.")


def model(dbt: Any, session: Any) -> Any:  # noqa: ANN401
    """Stream the hours through the map; on Spark, each listing segment by itself."""
    width = float(dbt.config.meta_get("magnet_bin"))
    half_life = float(dbt.config.meta_get("magnet_hl"))
    since = dbt.config.meta_get("since")  # the first hour that is to be built
    tiers_table = dbt.ref("leverage_tiers")
    hours = dbt.ref("int_magnet_inputs_hourly").filter(f"hour_ts >= timestamp '{since}'")
    maps = maps_before(dbt, session, since)

    if is_spark(session):
        tiers = [
            tuple(r) for r in tiers_table.select("leverage", "weight", "maintenance").collect()
        ]

        def of_segment(rows: pa.Table) -> pa.Table:
            batches = rows.sort_by("hour_ts").to_batches()
            return pa.Table.from_batches(magnet(batches, tiers, width, half_life, maps), SCHEMA)

        return hours.groupBy("symbol", "listing_segment").applyInArrow(of_segment, SPARK_SCHEMA)

    tiers = tiers_table.project("leverage, weight, maintenance").fetchall()
    ordered = hours.order("symbol nulls last, listing_segment nulls last, hour_ts nulls last")
    batches = ordered.to_arrow_reader(BATCH_ROWS)
    return pa.RecordBatchReader.from_batches(SCHEMA, magnet(batches, tiers, width, half_life, maps))
