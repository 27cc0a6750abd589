"""Family G against rows worked out by hand."""

from __future__ import annotations

from collections import Counter
from math import log, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .common import KEYS, Floats
from .test_reference import at, same
from .transforms import G_BASES, G_COLUMNS, MATRIX, family_g

Values = list[Any]  # numbers and None


def wide(values: dict[str, Values], symbol: str = "AAA") -> pd.DataFrame:
    """A wide table with the given base factors; the others are NULL."""
    rows = len(next(iter(values.values())))
    frame = pd.DataFrame(
        {"symbol": symbol, "hour_ts": [at(h) for h in range(rows)], "listing_segment": 1}
    )
    blank = pd.DataFrame(np.nan, index=frame.index, columns=G_BASES)
    for name, x in values.items():
        blank[name] = np.array(x, dtype="float64")
    return pd.concat([frame, blank], axis=1)


def signal(transform: str, x: Values, base: str) -> list[Any]:
    values: list[Any] = family_g(wide({base: x}))[f"g_{transform}_{base}"].tolist()
    return values


def known(values: list[Any]) -> list[int]:
    return np.flatnonzero(~np.isnan(np.array(values))).tolist()


def decay(age: float) -> float:
    return float(2 ** (-age / 6))


def test_the_matrix_has_105_columns() -> None:
    assert [len(bases) * len(names) for bases, _, names in MATRIX] == [30, 16, 15, 24, 12, 4, 4]
    assert len(G_COLUMNS) == len(set(G_COLUMNS)) == 105
    assert len(G_BASES) == len(set(G_BASES)) == 30
    assert Counter(name.split("_")[1] for name in G_COLUMNS) == {
        "z168": 6 + 4 + 5 + 6 + 6 + 1,
        "rank168": 6 + 4 + 5 + 6 + 2,
        "z24": 6 + 4 + 6 + 1,
        "snr": 6 + 5,
        "ewm6": 6 + 2,
        "skew168": 6 + 1,
        "rz168": 6,
        "mem6": 4,
        "kurt168": 1,
    }
    for name in (
        "g_z24_cvd_quote",
        "g_skew168_oi_flow_usd",
        "g_snr_net_burn_volume",
        "g_mem6_long_liq_volume",
        "g_z24_avg_trade_quote",
        "g_snr_whale_retail_ratio",
        "g_rz168_funding_annualized",
        "g_ewm6_liq_imbalance",
        "g_z168_up_var_share",
        "g_kurt168_returns_1h",
        "g_rank168_magnet_pull",
    ):
        assert name in G_COLUMNS


def test_keys_order_and_index_are_those_of_the_rows() -> None:
    x: Values = [float(h % 7) for h in range(30)]
    both = pd.concat([wide({"returns_1h": x}, "BBB"), wide({"returns_1h": x})])
    straight = family_g(both)
    assert list(straight) == KEYS + G_COLUMNS
    assert straight["symbol"].tolist() == ["BBB"] * 30 + ["AAA"] * 30
    mixed = both.reset_index(drop=True).sample(frac=1, random_state=1)
    got = family_g(mixed)
    assert got.index.equals(mixed.index)
    assert got.sort_index().equals(straight.reset_index(drop=True))
    assert straight["g_z24_returns_1h"].notna().sum() == 24


def test_no_rows() -> None:
    assert list(family_g(wide({"returns_1h": []}))) == KEYS + G_COLUMNS


def test_z_of_the_day_before() -> None:
    # 24 rows of 0 and 2: mean 1, squares 24, then a five
    x: Values = [0.0, 2.0] * 12 + [5.0, 1.0]
    got = signal("z24", x, "returns_1h")
    assert known(got) == list(range(18, 26))
    assert same(got[18:20], [-1 / sqrt(18 / 17), 20 / 19 / sqrt(360 / 19 / 18)])
    assert got[24] == pytest.approx(4 / sqrt(24 / 23), rel=1e-12)
    # rows 1 to 24: 12 twos, 11 zeros, a five; mean 29/24, squares 73
    assert got[25] == pytest.approx((1 - 29 / 24) / sqrt((73 - 29**2 / 24) / 23), rel=1e-12)


def test_z_needs_its_own_value_18_others_and_some_movement() -> None:
    x: Values = [None, 0.0, 2.0, None, *([0.0, 2.0] * 8), None, 5.0]
    got = signal("z24", x, "cvd_quote")
    assert known(got) == [21]  # 18 values stand before rows 20 and 21, and row 20 is NULL
    assert got[21] == pytest.approx(4 / sqrt(18 / 17), rel=1e-12)
    assert known(signal("z24", [7.0] * 30 + [8.0, 7.0], "cvd_quote")) == [31]


def test_z_keeps_its_digits_far_from_zero() -> None:
    x: Values = [1e9 + 2 * (h % 2) for h in range(168)] + [1e9 + 5]
    got = signal("z168", x, "cvd_quote")
    assert known(got) == list(range(126, 169))
    assert got[168] == pytest.approx(4 / sqrt(168 / 167), rel=1e-13)


def test_robust_z() -> None:
    # median 0, and 84 of 126 deviations are 1
    x: Values = [-1.0, 0.0, 1.0] * 42 + [3.0, None]
    got = signal("rz168", x, "triad_basis")
    assert known(got) == [126]
    assert got[126] == pytest.approx(3 / 1.4826, rel=1e-12)
    # half the week at 4 and half at 8: median 6, deviations of 2
    x = [4.0, 8.0] * 84 + [7.0]
    assert signal("rz168", x, "triad_basis")[168] == pytest.approx(0.5 / 1.4826, rel=1e-12)
    # most values are equal, so there is no deviation to measure with
    x = [0.0] * 100 + [float(h) for h in range(68)] + [9.0]
    assert known(signal("rz168", x, "triad_basis")[168:]) == []


def test_rank_counts_smaller_values_only() -> None:
    x: Values = [None, *([0.0] * 100), *([1.0] * 25), 1.0, None, 0.0, 5.0, -1.0]
    got = signal("rank168", x, "magnet_pull")
    assert known(got) == [126, 128, 129, 130]
    assert same(got[126:], [100 / 125, None, 0, 127 / 127, 0])
    # the first row falls out of the frame of row 168
    x = [900.0] * 3 + [float(h) for h in range(165)] + [164.5]
    got = signal("rank168", x, "magnet_pull")
    assert same(got[167:], [164 / 167, 165 / 167])


def moments(n: int, ones: int) -> tuple[float, float]:
    """G1 and G2 of `ones` ones among `n` zeros and ones."""
    p = ones / n
    g1 = (1 - 2 * p) / sqrt(p * (1 - p))
    g2 = (1 - 6 * p * (1 - p)) / (p * (1 - p))
    return (
        g1 * sqrt(n * (n - 1)) / (n - 2),
        ((n + 1) * g2 + 6) * (n - 1) / ((n - 2) * (n - 3)),
    )


@pytest.mark.parametrize("level", [0.0, 1e9])
def test_shape_of_the_week(level: float) -> None:
    x: Values = [level + (h % 4 == 0) for h in range(200)]
    x[199] = None
    frame = family_g(wide({"returns_1h": x}))
    skew, kurt = frame["g_skew168_returns_1h"], frame["g_kurt168_returns_1h"]
    assert known(skew.tolist()) == known(kurt.tolist()) == list(range(125, 200))
    for row, n, ones in ((125, 126, 32), (198, 168, 42), (199, 167, 42)):
        g1, g2 = moments(n, ones)
        assert skew[row] == pytest.approx(g1, rel=1e-11)
        assert kurt[row] == pytest.approx(g2, rel=1e-11)
        if not level:
            week = frame.index[max(0, row - 167) : row + 1]
            values = pd.Series(np.array(x, dtype="float64"))[week]
            assert skew[row] == pytest.approx(values.skew(), rel=1e-11)
            assert kurt[row] == pytest.approx(values.kurt(), rel=1e-11)


def test_a_constant_has_no_shape() -> None:
    x: Values = [0.1] * 140 + [0.2]
    assert known(signal("kurt168", x, "returns_1h")) == [140]
    assert known(signal("skew168", x, "cvd_quote")) == [140]


def test_decaying_mean() -> None:
    # twelve rows have 0.7507 of the weight of all 61 ages, eleven have less than 0.75
    x: Values = [1.0] + [0.0] * 80
    got = signal("ewm6", x, "imbalance_quote")
    assert known(got) == list(range(11, 81))
    for row in (11, 60):
        weights = sum(decay(k) for k in range(row + 1))
        assert got[row] == pytest.approx(decay(row) / weights, rel=1e-12)
    assert got[61] == 0


def test_decaying_mean_covers_its_own_holes() -> None:
    x: Values = [4.0] * 70
    x[69] = None  # 0.891 of the weight is left
    assert same(signal("ewm6", x, "magnet_pull")[68:], [4, 4])
    x[68] = None  # 0.794
    x[67] = 1.0
    weights = sum(decay(k) for k in range(2, 61))
    assert signal("ewm6", x, "magnet_pull")[69] == pytest.approx(
        (1 * decay(2) + 4 * (weights - decay(2))) / weights, rel=1e-12
    )
    x[67] = None  # 0.707
    assert np.isnan(signal("ewm6", x, "magnet_pull")[69])


def test_decaying_memory_of_events() -> None:
    x: Values = [0.0] * 20 + [1.0] + [0.0] * 70
    x[23] = None
    got = signal("mem6", x, "long_liq_volume")
    assert known(got) == list(range(11, 91))
    want: Values = [0.0] * 20 + [log(2) * decay(age) for age in range(61)] + [0.0] * 10
    assert same(got[11:], want[11:])  # a hole takes nothing away from the sum


def test_recent_rows_against_the_week_before() -> None:
    # the base of row 173 is rows 0 to 167: mean 1, squares 168
    x: Values = [0.0, 2.0] * 84 + [3.0, None, 5.0, 3.0, 5.0, 4.0, None]
    got = signal("snr", x, "cvd_quote")
    assert known(got) == list(range(131, 174))  # in the end four values are too few
    assert got[173] == pytest.approx(3 / sqrt(168 / 167), rel=1e-12)
    # of row 131: 126 rows; those after it are three zeros and three twos
    assert got[131] == pytest.approx(0, abs=1e-15)
    # the base of row 172 is rows 0 to 166: 84 zeros, 83 twos; row 167 is a recent one
    spread = sqrt((4 * 83 - 166**2 / 167) / 166)
    assert got[172] == pytest.approx(((2 + 3 + 5 + 3 + 5) / 5 - 166 / 167) / spread, rel=1e-12)
    assert known(signal("snr", [1.0] * 168 + [2.0] * 6, "cvd_quote")) == []


def test_logarithms_come_first() -> None:
    # ln(1 + x): zeros and e² - 1 have logarithms 0 and 2
    e2 = float(np.exp(2))
    x: Values = [0.0, e2 - 1] * 12 + [float(np.exp(5)) - 1]
    assert signal("z24", x, "quote_volume")[24] == pytest.approx(4 / sqrt(24 / 23), rel=1e-12)
    # ln x: 1 and e²; a zero has none, and counts nowhere
    x = [1.0, e2, 0.0] * 63 + [float(np.exp(5))]
    x = x[-169:]
    got = signal("z168", x, "liq_amihud")
    assert np.isnan(got[:168]).all()  # at most 112 of 168 are known
    x = [1.0, e2] * 63 + [0.0] * 42 + [float(np.exp(5))]
    got = signal("z168", x, "liq_amihud")
    assert known(got) == [168]
    assert got[168] == pytest.approx(4 / sqrt(126 / 125), rel=1e-12)
    got = signal("rank168", x, "liq_amihud")
    assert known(got) == [125, 168]
    assert same(got[168:], [1.0])


def test_nothing_crosses_a_segment() -> None:
    frame = wide({name: [float(h % 5 + 1) for h in range(200)] for name in G_BASES})
    frame["listing_segment"] = [1] * 100 + [2] * 100
    got = family_g(frame)[G_COLUMNS]
    again = got.iloc[100:].reset_index(drop=True)
    assert again.equals(got.iloc[:100])
    columns = {name.split("_")[1] for name in got.columns[got.notna().any()]}
    assert columns == {"z24", "ewm6", "mem6"}


def test_rows_without_values_are_null() -> None:
    got = family_g(wide({"cvd_quote": [None] * 180}))[G_COLUMNS]
    assert got.isna().to_numpy().all()


def test_a_row_stays_when_later_ones_arrive() -> None:
    noise: Floats = np.random.default_rng(1).normal(size=(300, len(G_BASES)))
    frame = wide({name: noise[:, i].tolist() for i, name in enumerate(G_BASES)})
    whole, part = family_g(frame)[G_COLUMNS], family_g(frame.iloc[:250])[G_COLUMNS]
    pd.testing.assert_frame_equal(whole.iloc[:250], part, rtol=1e-12, atol=1e-12)
    # half of the values have no ln x, which is too few; everything else is known
    bases, _, names = MATRIX[2]
    unknown = {f"g_{name}_{base}" for name in names for base in bases}
    assert set(whole.columns[whole.iloc[299].isna()]) == unknown
