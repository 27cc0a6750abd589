"""Families D and E of all symbols in polars, written for speed.

The minutes are sorted, so every group is a slice: groups are a running number with the sorted
flag, values of an hour reach its minutes by a gather, and what needs an order inside the hour
(heavy minutes, weighted quantiles, bins, return levels) is one sort of positions per order and
sums over runs. Rows are the hours with any minute, taken as contiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl
from polars import col
from polars.lazyframe.group_by import LazyGroupBy

from bench.factor_columns import COLUMNS, MIN_MINUTES, MIN_PAIRS, us_open_windows

BINS = 25
SYMBOL_ROWS = 3_000_000
BATCH_ROWS = 300_000
WORKERS = pl.thread_pool_size()
# The streaming engine was slower on groups which are slices.
ENGINE = "in-memory"
HOUR_US = 3_600_000_000
INPUTS = ("open_time", "open", "high", "low", "close", "volume", "quote_volume")
PDF_LEVELS = (60, 70, 80, 90, 95)

# Terms of a minute which are summed over the hour, alone and as products.
SUMS = [
    "q",
    "r",
    "r2",
    "r2_up",
    "r2_down",
    "r2_last10",
    "v_first5",
    "v_first10",
    "v_last5",
    "t",
    "yc",
    "yh",
    "yl",
    "xc",
    "xh",
    "xl",
    "u",
    "u2",
    "impact",
    "pc",
    "pv",
    "nc",
    "nv",
    "br",
    "bc",
    "bv",
]
PRODUCTS = [
    ("t", "t"),
    ("t", "yc"),
    ("t", "yh"),
    ("t", "yl"),
    ("yc", "yc"),
    ("yh", "yh"),
    ("yl", "yl"),
    ("xl", "xl"),
    ("xh", "xh"),
    ("xl", "xh"),
    ("r", "r2"),
    ("r2", "r2"),
    ("u", "u2"),
    ("u2", "u2"),
    ("r", "u"),
    ("xc", "u"),
    ("xc", "xc"),
    ("nc", "pv"),
    ("nc", "nc"),
    ("pv", "pv"),
    ("pc", "nv"),
    ("pc", "pc"),
    ("nv", "nv"),
    ("br", "bv"),
    ("bc", "bv"),
    ("br", "br"),
    ("bc", "bc"),
    ("bv", "bv"),
    ("spread", "per_q"),
]

# A structurally possible minute.
SOUND = (
    (col("low") > 0)
    & (col("low") <= col("high"))
    & (col("open") >= col("low"))
    & (col("open") <= col("high"))
    & (col("close") >= col("low"))
    & (col("close") <= col("high"))
)


def _by(frame: pl.DataFrame | pl.LazyFrame, key: str = "g") -> LazyGroupBy:
    """Groups of a sorted running number, in order."""
    return frame.lazy().with_columns(col(key).set_sorted()).group_by(key, maintain_order=True)


def _runs(*keys: str) -> pl.Expr:
    """Running number of the runs of equal keys."""
    change = pl.any_horizontal(*(col(key) != col(key).shift() for key in keys))
    return change.fill_null(True).cum_sum().cast(pl.UInt32) - 1


def _null_unless(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(value)


def _div(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    return _null_unless(denominator != 0, numerator / denominator)


def _varies(name: str) -> pl.Expr:
    return col(f"{name}_min") < col(f"{name}_max")


def _extremes(*names: str) -> list[pl.Expr]:
    return [
        expr
        for name in names
        for expr in (col(name).min().alias(f"{name}_min"), col(name).max().alias(f"{name}_max"))
    ]


def _valid_minutes(bars: pl.DataFrame) -> pl.DataFrame:
    """Structurally sound minutes with returns, quote volume and position in the hour."""
    minute_of_day = (col("open_time").to_physical() // 60_000_000).cast(pl.Int32)
    same_hour = col("h") == col("h").shift()
    q = pl.coalesce("quote_volume", col("volume") * (col("high") + col("low") + col("close")) / 3)
    return (
        bars.lazy()
        .filter(SOUND)
        .select(
            "h",
            (minute_of_day % 60).alias("m"),
            o="open",
            hi="high",
            lo="low",
            c="close",
            v="volume",
            q=q,
        )
        .with_columns(
            g=_runs("h"),
            r=(col("c") / pl.when(same_hour).then(col("c").shift()).otherwise("o")).log(),
            adjacent=same_hour.fill_null(False) & (col("m") == col("m").shift() + 1),
        )
        .collect(engine=ENGINE)
    )


def _full_hours(x: pl.DataFrame) -> pl.DataFrame:
    """The minutes of the hours with enough of them, groups numbered anew."""
    enough = _by(x).agg(enough=pl.len() >= MIN_MINUTES).collect(engine=ENGINE)["enough"]
    if enough.all():
        return x
    return x.filter(enough.gather(x["g"])).with_columns(g=_runs("h"))


def _terms(x: pl.DataFrame, heads: pl.DataFrame) -> pl.LazyFrame:
    """Per minute, the terms of all sums."""
    at = x["g"]
    zero = pl.lit(0.0)
    pair = col("adjacent")
    burst = pair & (col("v").shift() > 0)
    return (
        x.lazy()
        .with_columns(heads.select(col("c0", "v_mean", "v_p80").gather(at)))
        .with_columns(
            t=col("m") - 29.5,
            yc=(col("c") / col("c0")).log(),
            yh=(col("hi") / col("c0")).log(),
            yl=(col("lo") / col("c0")).log(),
            xc=col("c") / col("c0") - 1,
            xh=col("hi") / col("c0") - 1,
            xl=col("lo") / col("c0") - 1,
            u=col("v") - col("v_mean"),
            r2=col("r") * col("r"),
            ratio=col("hi") / col("lo"),
            spread=(col("hi") - col("lo")) / col("c"),
            per_q=_null_unless(col("q") > 0, 1e6 / col("q")).fill_null(0.0),
            burst=burst,
        )
        .with_columns(
            u2=col("u") * col("u"),
            impact=col("r") * col("per_q"),
            # The pair of the previous minute with this one; NULL where there is none.
            pc=_null_unless(pair, col("xc").shift()),
            pv=_null_unless(pair, col("u").shift()),
            nc=_null_unless(pair, col("xc")),
            nv=_null_unless(pair, col("u")),
            br=_null_unless(burst, col("r")),
            bc=_null_unless(burst, col("xc")),
            bv=_null_unless(burst, (col("v") / col("v").shift() - 1).clip(-1, 10)),
        )
        .with_columns(
            r2_up=pl.when(col("r") > 0).then("r2").otherwise(zero),
            r2_down=pl.when(col("r") < 0).then("r2").otherwise(zero),
            r2_last10=pl.when(col("m") >= 50).then("r2").otherwise(zero),
            v_first5=pl.when(col("m") < 5).then("v").otherwise(zero),
            v_first10=pl.when(col("m") < 10).then("v").otherwise(zero),
            v_last5=pl.when(col("m") >= 55).then("v").otherwise(zero),
        )
    )


def _product(a: str, b: str) -> pl.Expr:
    return (col(a) * col(b)).sum().alias(f"{a}_{b}")


def _moments(x: pl.DataFrame) -> pl.DataFrame:
    """One row per hour with the sums, extremes and dispersions of its minutes."""
    heads = (
        _by(x)
        .agg(
            c0=col("c").first(),
            v_mean=col("v").mean(),
            v_p80=col("v").quantile(0.8, "linear"),
            v_total=col("v").sum(),
        )
        .collect(engine=ENGINE)
    )
    out = _by(_terms(x, heads)).agg(
        col("h").first(),
        col(SUMS).sum(),
        *(_product(a, b) for a, b in PRODUCTS),
        *_extremes("r", "v", "c", "hi", "lo", "nc", "pv", "pc", "nv", "br", "bc", "bv"),
        n=pl.len().cast(pl.Int64),
        n_head=(col("m") < 45).sum().cast(pl.Int64),
        n_traded=(col("q") > 0).sum().cast(pl.Int64),
        n_p80=(col("v") >= col("v_p80")).sum().cast(pl.Int64),
        n_pair=col("adjacent").sum().cast(pl.Int64),
        n_burst=col("burst").sum().cast(pl.Int64),
        impact_abs=col("impact").abs().sum(),
        ratio_max=col("ratio").max(),
        ratio_std=col("ratio").std(ddof=0),
        log_ratio_std=(col("yh") - col("yl")).std(ddof=0),
        spread_std=col("spread").std(ddof=0),
        r_std=col("r").std(ddof=0),
        o_first=col("o").first(),
        c_last=col("c").last(),
        m_last=col("m").last(),
    )
    out = out.with_columns(heads["v_mean"], heads["v_total"]).with_columns(
        at=col("n").cum_sum() - col("n") + col("n_head") - 1
    )
    hours = out.collect(engine=ENGINE)
    at = hours.select(pl.when(col("n_head") > 0).then("at")).to_series()
    return hours.with_columns(c_head=x["c"].gather(at), m_head=x["m"].gather(at))


def _heavy_minutes(x: pl.DataFrame) -> pl.DataFrame:
    """Return and quote volume of the fifth of the minutes with the largest quote volume."""
    top = col("i").sort_by("q", descending=True, maintain_order=True).head((pl.len() + 4) // 5)
    order = _by(x.select("g", "q", i=pl.int_range(pl.len(), dtype=pl.UInt32))).agg(top)
    return (
        _by(x.select(col("g", "r", "q").gather(order.collect(engine=ENGINE)["i"].explode())))
        .agg(top_r=col("r").sum(), top_q=col("q").sum())
        .collect(engine=ENGINE)
    )


def _sorted_in_group(x: pl.DataFrame, by: pl.Expr) -> pl.DataFrame:
    """The rows sorted inside their group."""
    keyed = x.select("g", by.alias("by"), i=pl.int_range(pl.len(), dtype=pl.UInt32))
    order = _by(keyed).agg(col("i").sort_by("by")).collect(engine=ENGINE)
    return x.select(pl.all().gather(order["i"].explode()))


def _quantiles(x: pl.DataFrame, value: str, levels: dict[str, float]) -> pl.DataFrame:
    """Left-inverse volume-weighted quantiles of a value sorted inside its group."""
    shares = (
        _by(x)
        .agg(share=col("v").cum_sum() / col("v").sum())
        .collect(engine=ENGINE)["share"]
        .explode()
    )
    below = {
        name: (col("share") < level - 1e-12).sum().cast(pl.Int64) for name, level in levels.items()
    }
    start = col("n").cum_sum() - col("n")
    at = (
        _by(x.select("g", shares))
        .agg(n=pl.len().cast(pl.Int64), **below)
        .select((start + pl.min_horizontal(name, col("n") - 1)).alias(name) for name in levels)
        .collect(engine=ENGINE)
    )
    return at.select(x[value].gather(at[name]).alias(name) for name in levels)


def _bin_moments(by_r: pl.DataFrame) -> pl.DataFrame:
    """Population moments of the volume shares of 25 bins, the empty ones included."""
    mean = 1 / BINS
    position = (BINS * (col("r") - col("low")) / (col("high") - col("low"))).floor()
    binned = by_r.lazy().select("g", "s", b=position.clip(upper_bound=BINS - 1))
    shares = (
        _by(binned.with_columns(run=_runs("g", "b")), "run")
        .agg(col("g").first(), col("s").sum())
        .with_columns(d=col("s") - mean)
    )
    empty = BINS - pl.len().cast(pl.Int64)
    powers = {f"m{k}": ((col("d") ** k).sum() + empty * (-mean) ** k) / BINS for k in (2, 3, 4)}
    return (
        _by(shares)
        .agg(**powers)
        .select(
            doc_std=col("m2").sqrt(),
            doc_skew=_div(col("m3"), col("m2") ** 1.5),
            doc_kurt=_div(col("m4"), col("m2") ** 2) - 3,
        )
        .collect(engine=ENGINE)
    )


def _top_levels(by_r: pl.DataFrame) -> pl.DataFrame:
    """Volume shares of the return levels which hold the most."""
    levels = by_r.lazy().select("g", "s", k=(col("r") * 1e8).round().cast(pl.Int64))
    sums = _by(levels.with_columns(run=_runs("g", "k")), "run").agg(
        col("g").first(), col("s").sum()
    )
    largest = _by(sums).agg(col("s").sort(descending=True))
    return largest.select(
        col("s").list.head(k).list.sum().alias(f"doc_vol{k}_ratio") for k in (5, 10, 50)
    ).collect(engine=ENGINE)


def _weighted_moments(by_r: pl.DataFrame) -> pl.DataFrame:
    """Volume-weighted central moments of the returns."""
    mean = _by(by_r).agg(mean=(col("s") * col("r")).sum()).collect(engine=ENGINE)["mean"]
    d = col("d")
    return (
        _by(
            by_r.lazy()
            .select("g", "s", d=col("r") - mean.gather(by_r["g"]))
            .with_columns(d2=d * d)
            .with_columns(sd2=col("s") * col("d2"))
        )
        .agg(m2=col("sd2").sum(), m3=(col("sd2") * d).sum(), m4=(col("sd2") * col("d2")).sum())
        .select(
            doc_wstd=col("m2").sqrt(),
            doc_wskew=_div(col("m3"), col("m2") ** 1.5),
            doc_wkurt=_div(col("m4"), col("m2") ** 2) - 3,
        )
        .collect(engine=ENGINE)
    )


def _chips(x: pl.DataFrame) -> pl.DataFrame:
    """Distribution of the volume over return levels, for the hours which have one."""
    x = (
        x.lazy()
        .filter(col("v") > 0)
        .select("r", "v", hour="g", g=_runs("g"))
        .collect(engine=ENGINE)
    )
    totals = (
        _by(x)
        .agg(
            col("hour").first(),
            total=col("v").sum(),
            low=col("r").min(),
            high=col("r").max(),
        )
        .collect(engine=ENGINE)
    )
    varies = totals["low"] < totals["high"]
    if not varies.all():
        x = x.filter(varies.gather(x["g"])).with_columns(g=_runs("g"))
        totals = totals.filter(varies)
    by_r = _sorted_in_group(x.select("g", "r", "v"), col("r"))
    by_r = by_r.with_columns(
        totals.select(col("total", "low", "high").gather(by_r["g"]))
    ).with_columns(s=col("v") / col("total"))
    by_size = _sorted_in_group(x.select("g", "v", size=col("r").abs()), col("size"))
    return pl.concat(
        [
            totals.select(g="hour"),
            _quantiles(by_r, "r", {f"doc_vol_pdf{level}": level / 100 for level in PDF_LEVELS}),
            _quantiles(by_size, "size", {"doc_vol_pdf90bi": 0.9}),
            _bin_moments(by_r),
            _top_levels(by_r),
            _weighted_moments(by_r),
        ],
        how="horizontal",
    )


def _regression(y: str, x: str, varies: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Slope and R² from sums."""
    n = col("n")
    sxy = col(f"{x}_{y}") - col(x) * col(y) / n
    sxx = col(f"{x}_{x}") - col(x) ** 2 / n
    syy = col(f"{y}_{y}") - col(y) ** 2 / n
    return _null_unless(varies, sxy / sxx), _null_unless(varies, sxy**2 / (sxx * syy))


def _corr(x: str, y: str, n: str, varies: pl.Expr) -> pl.Expr:
    """Pearson correlation from sums."""
    square = {"r": "r2", "u": "u2"}
    count = col(n)
    sxy = col(f"{x}_{y}") - col(x) * col(y) / count
    sxx = col(square.get(x, f"{x}_{x}")) - col(x) ** 2 / count
    syy = col(square.get(y, f"{y}_{y}")) - col(y) ** 2 / count
    return _null_unless(varies & (count >= MIN_PAIRS), sxy / (sxx * syy).sqrt())


def _shape(x: str, varies: pl.Expr) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """G1, G2 and population skewness over raw kurtosis from power sums."""
    n = col("n")
    e1, e2, e3, e4 = (col(name) / n for name in (x, f"{x}2", f"{x}_{x}2", f"{x}2_{x}2"))
    m2 = e2 - e1**2
    m3 = e3 - 3 * e1 * e2 + 2 * e1**3
    m4 = e4 - 4 * e1 * e3 + 6 * e1**2 * e2 - 3 * e1**4
    skew = m3 / (m2 * m2.sqrt())
    raw = m4 / m2**2
    g1 = skew * (n * (n - 1)).sqrt() / (n - 2)
    g2 = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (raw - 3) + 6)
    return tuple(_null_unless(varies, value) for value in (g1, g2, skew / raw))


def _factors(hours: pl.DataFrame) -> pl.DataFrame:
    """The columns of one hour from its sums."""
    n, total, quote = col("n"), col("v_total"), col("q")
    ends = (col("m_head") >= 40) & (col("m_last") >= 55)
    head = _null_unless(ends, (col("c_head") / col("o_first")).log())
    tail = _null_unless(ends, (col("c_last") / col("c_head")).log())
    out: dict[str, pl.Expr] = {
        "seg_head_logret": head,
        "seg_tail_logret": tail,
        "seg_tail_minus_head": tail - head,
        "seg_tail_share": _div(tail.abs(), head.abs() + tail.abs()),
        "seg_tail_share_signed": _null_unless((head + tail).abs() >= 1e-4, tail / (head + tail)),
        "vol_top20_logret_sum": _null_unless(quote > 0, col("top_r")),
        "vol_top20_frac": _div(col("top_q"), quote),
        "vol_top20_minute_frac": col("n_p80") / n,
        "amihud_signed": _null_unless(col("n_traded") > 0, col("impact")),
        "amihud_abs": _null_unless(col("n_traded") > 0, col("impact_abs")),
    }
    for name, y, price in (("close", "yc", "c"), ("high", "yh", "hi"), ("low", "yl", "lo")):
        slope, r2 = _regression(y, "t", _varies(price))
        out[f"qrs_beta_{name}_per_hour"] = 60 * slope.fill_null(0.0)
        out[f"qrs_r2_{name}"] = r2
        out[f"qrs_{name}"] = 60 * slope * r2
    varies = _varies("lo") & _varies("hi")
    out["qrs_hl_beta"], out["qrs_hl_r2"] = _regression("xh", "xl", varies)

    variance, v_std = col("r2"), (col("u2") / n - (col("u") / n) ** 2).sqrt()
    v_std = pl.when(_varies("v")).then(v_std).otherwise(0.0)
    r_std = col("r_std") * 60**0.5
    out |= {
        "vol_1m_mean": col("v_mean"),
        "vol_1m_std": v_std,
        "vol_1m_cv": _div(v_std, col("v_mean")),
        "range_ratio_1m_std": col("ratio_std"),
        "log_range_1m_std": col("log_ratio_std"),
        "min_range_ratio_max": col("ratio_max"),
        "up_vol_l2": col("r2_up").sqrt(),
        "down_vol_l2": col("r2_down").sqrt(),
        "up_var_share": _div(col("r2_up"), variance),
        "down_var_share": 1 - _div(col("r2_up"), variance),
        "rv_std_sqrt60": r_std,
        "rv_l2": variance.sqrt(),
        "rv_per_vol": _div(r_std, quote / n / 1e6),
        "liq_amihud": _div(col("impact_abs"), col("n_traded")),
        "liq_last_5min_R": _div(col("v_last5"), total),
        "liq_funding_impact": _div(col("v_first5") + col("v_last5"), total),
        "liq_top_of_hour_ratio": _div(col("v_first10"), total),
        "liq_range_vol_ratio": _div(col("spread_per_q"), col("n_traded")),
        "liq_spread_std": col("spread_std"),
        "liq_tail_risk": _div(col("r2_last10"), variance).sqrt(),
        "liq_tail_var_share": _div(col("r2_last10"), variance),
    }
    names = ("shape_skew", "shape_kurt", "shape_skratio")
    out |= dict(zip(names, _shape("r", _varies("r")), strict=True))
    out |= dict(zip((f"{x}Vol" for x in names), _shape("u", _varies("v")), strict=True))
    out |= {
        "corr_prv": _corr("r", "u", "n", _varies("r") & _varies("v")),
        "corr_prvr": _corr("br", "bv", "n_burst", _varies("br") & _varies("bv")),
        "corr_pv": _corr("xc", "u", "n", _varies("c") & _varies("v")),
        "corr_pvd": _corr("nc", "pv", "n_pair", _varies("nc") & _varies("pv")),
        "corr_pvl": _corr("pc", "nv", "n_pair", _varies("pc") & _varies("nv")),
        "corr_pvr": _corr("bc", "bv", "n_burst", _varies("bc") & _varies("bv")),
    }
    edges = ("h", "v_first5", "v_last5", "v_total")
    chips = [name for name in COLUMNS if name.startswith("doc_")]
    return hours.select(*edges, *(value.alias(name) for name, value in out.items()), *chips)


def _slices(bars: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Slices of whole hours."""
    hour, start = bars["h"], 0
    while start < len(bars):
        end = min(start + rows, len(bars))
        if end < len(bars):
            end = hour.search_sorted(hour[end - 1], side="right")
        yield bars.slice(start, end - start)
        start = end


def _full_hour_factors(bars: pl.DataFrame) -> pl.DataFrame:
    """Everything that one hour's minutes decide, for the hours with 45 of them."""
    x = _full_hours(_valid_minutes(bars))
    hours = pl.concat([_moments(x), _heavy_minutes(x).drop("g")], how="horizontal")
    return _factors(hours.join(_chips(x), on="g", how="left", maintain_order="left"))


def _us_open(bars: pl.DataFrame) -> pl.DataFrame:
    """Log return of the first hour of New York trading, on the hour of 10:29 New York."""
    span = bars.select(first=col("open_time").min(), last=col("open_time").max()).row(0)
    windows = us_open_windows(span[0].date(), span[1].date())
    window = pl.DataFrame(
        windows,
        schema={"start": bars.schema["open_time"], "end": bars.schema["open_time"]},
        orient="row",
    )
    minute = (col("open_time").to_physical() // 60_000_000).cast(pl.Int32) % 60
    edges = (
        bars.lazy()
        .filter((minute == 29) | (minute == 30))
        .filter(SOUND)
        .select("symbol", "open_time", "open", "close", "h")
        .collect(engine=ENGINE)
    )
    opens = edges.join(window, left_on="open_time", right_on="start")
    return opens.join(
        edges.select("symbol", "h", end="open_time", last="close"), on=["symbol", "end"]
    ).select(h="h_right", seg_us_open_60m_logret=(col("last") / col("open")).log())


def _across_hours(rows: pl.DataFrame, settlements: pl.LazyFrame) -> pl.DataFrame:
    """Columns which look at earlier hours or at settlements."""
    settled = settlements.select("symbol", hour_ts="settle_time", settled=pl.lit(True)).unique()
    first = settlements.group_by("symbol").agg(first_settled=col("settle_time").min())
    one = "symbol"
    day = col("rv_std_sqrt60").rolling_mean(24, min_samples=18).over(one)
    base = col("qrs_hl_beta").shift()
    base_mean = base.rolling_mean(600, min_samples=450).over(one)
    base_std = base.rolling_std(600, min_samples=450).over(one)
    both = col("v_total") + col("v_total").shift().over(one)
    edge = col("v_first5") + col("v_last5").shift().over(one)
    unsettled = (col("hour_ts") < col("first_settled")).fill_null(True)
    by_clock = unsettled & col("hour_ts").dt.hour().is_in([0, 8, 16])
    return (
        rows.lazy()
        .join(settled, on=["symbol", "hour_ts"], how="left", maintain_order="left")
        .join(first, on="symbol", how="left", maintain_order="left")
        .with_columns(
            rv_stability_24h=_div(col("rv_std_sqrt60"), day),
            qrs_hl_z=_div(col("qrs_hl_beta") - base_mean, base_std),
            liq_funding_window_share=_null_unless(col("settled"), _div(edge, both)),
            is_funding_hour=(col("settled").fill_null(False) | by_clock).cast(pl.Int8),
            seg_us_open_60m_logret_last=col("seg_us_open_60m_logret")
            .forward_fill(limit=23)
            .over(one),
        )
        .with_columns(qrs_hl=col("qrs_hl_z") * col("qrs_hl_r2"))
        .with_columns(qrs_hl_rskew=col("qrs_hl") * col("qrs_hl_beta"))
        .select(COLUMNS)
        .collect(engine=ENGINE)
    )


def _symbols_factors(bars: pl.DataFrame, settlements: pl.LazyFrame) -> pl.DataFrame:
    """Families D and E of the symbols of one collected frame."""
    hour = col("open_time").to_physical() // HOUR_US
    bars = bars.with_columns(hour=hour).with_columns(h=_runs("hour", "symbol").set_sorted())
    hours = (
        _by(bars.select("h", "symbol", "hour"), "h")
        .agg(col("symbol", "hour").first())
        .with_columns(hour_ts=(col("hour") * HOUR_US).cast(bars.schema["open_time"]))
    )
    rows = max(10_000, min(BATCH_ROWS, -(-len(bars) // WORKERS)))
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = pl.concat(pool.map(_full_hour_factors, _slices(bars, rows)))
    rows = (
        hours.join(parts.lazy(), on="h", how="left", maintain_order="left")
        .join(_us_open(bars).lazy(), on="h", how="left", maintain_order="left")
        .collect(engine=ENGINE)
    )
    return _across_hours(rows, settlements)


def _in_order(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars sorted by symbol and time, which files in order already are."""
    symbol, time = col("symbol"), col("open_time")
    later = (symbol > symbol.shift()) | ((symbol == symbol.shift()) & (time > time.shift()))
    if bars.select(later.fill_null(True).all()).item():
        return bars
    return bars.sort("symbol", "open_time")


def _symbol_batches(minutes: pl.LazyFrame) -> list[list[str]]:
    """The symbols in batches which fit in memory."""
    counts = minutes.group_by("symbol").len().sort("symbol").collect(engine=ENGINE)
    batches: list[list[str]] = []
    size = SYMBOL_ROWS
    for symbol, rows in counts.iter_rows():
        if size + rows > SYMBOL_ROWS:
            batches.append([])
            size = 0
        batches[-1].append(symbol)
        size += rows
    return batches


def momentum_and_volatility(
    minutes: pl.LazyFrame, settlements: pl.LazyFrame | pl.DataFrame
) -> pl.DataFrame:
    """Families D and E of all symbols, sorted by symbol and hour."""
    minutes = minutes.select("symbol", *INPUTS)
    settlements = settlements.lazy()
    if minutes.select(pl.len()).collect(engine=ENGINE).item() <= SYMBOL_ROWS:
        return _symbols_factors(_in_order(minutes.collect(engine=ENGINE)), settlements)
    out = []
    for symbols in _symbol_batches(minutes):
        bars = minutes.filter(col("symbol").is_in(symbols)).collect(engine=ENGINE)
        out.append(_symbols_factors(_in_order(bars), settlements))
    return pl.concat(out)
