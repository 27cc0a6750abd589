"""Families D and E in polars as its users write them: a `group_by` over hours, two more for chips.

Columns that look at other hours come from `factors_polars`.
"""

from __future__ import annotations

import polars as pl
from polars import col

from bench import factors_polars as tuned
from bench.factor_columns import MIN_MINUTES, MIN_PAIRS

BINS = 25


def _varies(x: pl.Expr) -> pl.Expr:
    return x.min() < x.max()


def _corr(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    both = a.is_not_null() & b.is_not_null()
    a, b = a.filter(both), b.filter(both)
    return pl.when((a.len() >= MIN_PAIRS) & _varies(a) & _varies(b)).then(pl.corr(a, b))


def _slope(y: pl.Expr, x: pl.Expr) -> pl.Expr:
    return pl.when(_varies(y)).then(pl.cov(x, y) / x.var()).otherwise(0.0)


def _r2(y: pl.Expr, x: pl.Expr) -> pl.Expr:
    return pl.when(_varies(y) & _varies(x)).then(pl.corr(x, y) ** 2)


def _div(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    return pl.when(b != 0).then(a / b)


def _shape(x: pl.Expr, names: tuple[str, str, str]) -> list[pl.Expr]:
    d = x - x.mean()
    m2, m3, m4 = ((d**k).mean() for k in (2, 3, 4))
    values = x.skew(bias=False), x.kurtosis(bias=False), m3 * m2.sqrt() / m4
    return [pl.when(_varies(x)).then(v).alias(n) for v, n in zip(values, names, strict=True)]


def _hours(x: pl.LazyFrame) -> pl.LazyFrame:
    m, o, hi, lo, c, v, q, r = (col(name) for name in ("m", "o", "hi", "lo", "c", "v", "q", "r"))
    t, quote, volume = m.cast(pl.Float64), q.sum(), v.sum()
    leaders = (pl.len() + 4) // 5
    order = {"by": [q, m], "descending": [True, False]}
    head, last = c.filter(m < 45), c.last()
    ends = (m.filter(m < 45).max() >= 40) & (m.max() >= 55)
    first = pl.when(ends).then((head.last() / o.first()).log())
    final = pl.when(ends).then((last / head.last()).log())
    r2, spread, traded = r**2, (hi - lo) / c, q > 0
    rv = pl.when(_varies(r)).then(r.std(ddof=0)).otherwise(0.0) * 60**0.5
    v_std = pl.when(_varies(v)).then(v.std(ddof=0)).otherwise(0.0)
    impact, impact_abs = 1e6 * (r / q).filter(traded), 1e6 * (r.abs() / q).filter(traded)
    early, late = v.filter(m < 5).sum(), v.filter(m >= 55).sum()
    up, down = r2.filter(r > 0).sum(), r2.filter(r < 0).sum()

    def std(z: pl.Expr) -> pl.Expr:
        return pl.when(_varies(z)).then(z.std(ddof=0)).otherwise(0.0)

    trends = []
    for name, p in (("close", c), ("high", hi), ("low", lo)):
        beta, fit = 60 * _slope(p.log(), t), _r2(p.log(), t)
        trends += [beta.alias(f"qrs_beta_{name}_per_hour"), fit.alias(f"qrs_r2_{name}"),
                   (beta * fit).alias(f"qrs_{name}")]  # fmt: skip
    both = _varies(hi) & _varies(lo)
    names = ("shape_skew", "shape_kurt", "shape_skratio")
    return x.group_by("h").agg(
        *trends,
        *_shape(r, names),
        *_shape(v, tuple(f"{n}Vol" for n in names)),
        v_first5=early,
        v_last5=late,
        v_total=volume,
        seg_head_logret=first,
        seg_tail_logret=final,
        seg_tail_minus_head=final - first,
        seg_tail_share=_div(final.abs(), first.abs() + final.abs()),
        seg_tail_share_signed=pl.when((first + final).abs() >= 1e-4).then(final / (first + final)),
        vol_top20_logret_sum=pl.when(quote > 0).then(r.sort_by(**order).head(leaders).sum()),
        vol_top20_frac=_div(q.sort_by(**order).head(leaders).sum(), quote),
        vol_top20_minute_frac=(v >= v.quantile(0.8, "linear")).mean(),
        amihud_signed=pl.when(quote > 0).then(impact.sum()),
        amihud_abs=pl.when(quote > 0).then(impact_abs.sum()),
        qrs_hl_beta=pl.when(both).then(_slope(hi, lo)),
        qrs_hl_r2=_r2(hi, lo),
        vol_1m_mean=v.mean(),
        vol_1m_std=v_std,
        vol_1m_cv=_div(v_std, v.mean()),
        range_ratio_1m_std=std(hi / lo),
        log_range_1m_std=std((hi / lo).log()),
        min_range_ratio_max=(hi / lo).max(),
        up_vol_l2=up.sqrt(),
        down_vol_l2=down.sqrt(),
        up_var_share=_div(up, up + down),
        down_var_share=1 - _div(up, up + down),
        rv_std_sqrt60=rv,
        rv_l2=r2.sum().sqrt(),
        rv_per_vol=_div(rv, q.mean() / 1e6),
        corr_prv=_corr(r, v),
        corr_prvr=_corr(r, col("burst")),
        corr_pv=_corr(c, v),
        corr_pvd=_corr(c, col("pv")),
        corr_pvl=_corr(col("pc"), v),
        corr_pvr=_corr(c, col("burst")),
        liq_amihud=impact_abs.mean(),
        liq_last_5min_R=_div(late, volume),
        liq_funding_impact=_div(early + late, volume),
        liq_top_of_hour_ratio=_div(v.filter(m < 10).sum(), volume),
        liq_range_vol_ratio=1e6 * (spread / q).filter(traded).mean(),
        liq_spread_std=std(spread),
        liq_tail_risk=_div(r2.filter(m >= 50).sum(), r2.sum()).sqrt(),
        liq_tail_var_share=_div(r2.filter(m >= 50).sum(), r2.sum()),
    )


def _chips(x: pl.LazyFrame) -> pl.LazyFrame:
    r, v = col("r"), col("v")
    x = x.filter(v > 0).filter((r.min() < r.max()).over("h"))
    total, far = v.sum(), r.abs()
    d = r - (v * r).sum() / total
    m2, m3, m4 = ((v * d**k).sum() / total for k in (2, 3, 4))
    share, far_share = (v.sort_by(z).cum_sum() / total for z in (r, far))
    quantiles = {
        f"doc_vol_pdf{p}": r.sort().filter(share >= p / 100 - 1e-12).first()
        for p in (60, 70, 80, 90, 95)
    }
    own = x.group_by("h").agg(
        **quantiles,
        doc_vol_pdf90bi=far.sort().filter(far_share >= 0.9 - 1e-12).first(),
        doc_wstd=m2.sqrt(),
        doc_wskew=m3 / m2**1.5,
        doc_wkurt=m4 / m2**2 - 3,
    )
    low, high = r.min().over("h"), r.max().over("h")
    placed = x.with_columns(
        bin=(BINS * (r - low) / (high - low)).floor().clip(upper_bound=BINS - 1),
        level=(r * 1e8).round(),
        share=v / total.over("h"),
    )
    s = col("share") - 1 / BINS
    empty = BINS - pl.len()
    moments = [((s**k).sum() + empty * (-1 / BINS) ** k) / BINS for k in (2, 3, 4)]
    bins = (
        placed.group_by("h", "bin").agg(col("share").sum()).group_by("h").agg(
            doc_std=moments[0].sqrt(),
            doc_skew=moments[1] / moments[0] ** 1.5,
            doc_kurt=moments[2] / moments[0] ** 2 - 3,
        )
    )  # fmt: skip
    levels = (
        placed.group_by("h", "level").agg(col("share").sum()).group_by("h").agg(
            (col("share").top_k(k).sum()).alias(f"doc_vol{k}_ratio") for k in (5, 10, 50)
        )
    )  # fmt: skip
    return own.join(bins, on="h").join(levels, on="h")


def full_hour_factors(bars: pl.DataFrame) -> pl.DataFrame:
    """Everything that one hour's minutes decide, for the hours with 45 of them."""
    x = tuned._valid_minutes(bars).lazy().filter(pl.len().over("h") >= MIN_MINUTES)
    v, pv = col("v"), col("v").shift()
    x = x.with_columns(
        pc=pl.when("adjacent").then(col("c").shift()),
        pv=pl.when("adjacent").then(pv),
        burst=pl.when(col("adjacent") & (pv > 0)).then((v / pv - 1).clip(-1, 10)),
    )
    return _hours(x).join(_chips(x), on="h", how="left").collect()


def momentum_and_volatility(
    minutes: pl.LazyFrame, settlements: pl.LazyFrame | pl.DataFrame
) -> pl.DataFrame:
    """Families D and E of all symbols, sorted by symbol and hour."""
    bars = tuned._in_order(minutes.select("symbol", *tuned.INPUTS).collect())
    hour = col("open_time").to_physical() // tuned.HOUR_US
    bars = bars.with_columns(hour=hour).with_columns(h=tuned._runs("hour", "symbol"))
    hours = bars.group_by("h", maintain_order=True).agg(col("symbol", "hour").first())
    hours = hours.with_columns(hour_ts=(col("hour") * tuned.HOUR_US).cast(bars.schema["open_time"]))
    rows = hours.join(full_hour_factors(bars), on="h", how="left", maintain_order="left")
    rows = rows.join(tuned._us_open(bars), on="h", how="left", maintain_order="left")
    return tuned._across_hours(rows, settlements.lazy())
