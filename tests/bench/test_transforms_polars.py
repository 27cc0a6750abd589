"""The opponent in polars computes the same transforms."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bench.hourly import asked
from bench.transforms_polars import transforms
from tests.reference import transforms as reference

EXPECTED = {
    "z24": lambda x: reference.z(x, 24, 18),
    "z168": lambda x: reference.z(x, 168, 126),
    "rz168": reference.robust_z,
    "rank168": reference.rank,
    "skew168": reference.skew,
    "kurt168": reference.kurt,
    "snr": reference.signal_to_noise,
    "ewm6": reference.ewm,
    "mem6": reference.mem,
}


def test_all_transforms_are_known():
    assert {name for a in asked() for name in a["transforms"]} <= EXPECTED.keys()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_values_are_those_of_the_reference():
    rng = np.random.default_rng(1)
    series = []
    for n in (500, 230):
        x = rng.normal(size=n) + 3
        x[n // 2 :] = np.round(x[n // 2 :])  # ties
        x[rng.random(n) < 0.1] = np.nan
        series.append(x)
    hours = pl.concat(
        pl.DataFrame(
            {
                "symbol": ["X"] * len(x),
                "listing_segment": [segment] * len(x),
                "hour_ts": range(len(x)),
                "f": pl.Series(x, nan_to_null=True),
            }
        )
        for segment, x in enumerate(series)
    )
    made = transforms(hours.lazy(), [{"factor": "f", "map": "none", "transforms": list(EXPECTED)}])
    for name, expected in EXPECTED.items():
        values = np.concatenate([expected(x) for x in series])
        np.testing.assert_allclose(made[f"g_{name}_f"].to_numpy(), values, rtol=1e-9, atol=1e-12)
