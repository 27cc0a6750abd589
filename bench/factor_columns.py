"""Names and calendar shared by the benchmark's implementations of families D and E."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MIN_MINUTES = 45
MIN_PAIRS = 40

D_COLUMNS = (
    "seg_head_logret",
    "seg_tail_logret",
    "seg_tail_minus_head",
    "seg_tail_share",
    "seg_tail_share_signed",
    "seg_us_open_60m_logret",
    "seg_us_open_60m_logret_last",
    "vol_top20_logret_sum",
    "vol_top20_frac",
    "vol_top20_minute_frac",
    "amihud_signed",
    "amihud_abs",
    "qrs_beta_close_per_hour",
    "qrs_beta_high_per_hour",
    "qrs_beta_low_per_hour",
    "qrs_r2_close",
    "qrs_r2_high",
    "qrs_r2_low",
    "qrs_close",
    "qrs_high",
    "qrs_low",
    "qrs_hl_beta",
    "qrs_hl_r2",
    "qrs_hl_z",
    "qrs_hl",
    "qrs_hl_rskew",
)
E_COLUMNS = (
    "vol_1m_mean",
    "vol_1m_std",
    "vol_1m_cv",
    "range_ratio_1m_std",
    "log_range_1m_std",
    "min_range_ratio_max",
    "up_vol_l2",
    "down_vol_l2",
    "up_var_share",
    "down_var_share",
    "rv_std_sqrt60",
    "rv_l2",
    "rv_per_vol",
    "rv_stability_24h",
    "shape_skew",
    "shape_kurt",
    "shape_skratio",
    "shape_skewVol",
    "shape_kurtVol",
    "shape_skratioVol",
    "corr_prv",
    "corr_prvr",
    "corr_pv",
    "corr_pvd",
    "corr_pvl",
    "corr_pvr",
    "liq_amihud",
    "liq_last_5min_R",
    "liq_funding_impact",
    "liq_funding_window_share",
    "liq_top_of_hour_ratio",
    "is_funding_hour",
    "liq_range_vol_ratio",
    "liq_spread_std",
    "liq_tail_risk",
    "liq_tail_var_share",
    "doc_vol_pdf60",
    "doc_vol_pdf70",
    "doc_vol_pdf80",
    "doc_vol_pdf90",
    "doc_vol_pdf95",
    "doc_vol_pdf90bi",
    "doc_std",
    "doc_skew",
    "doc_kurt",
    "doc_vol5_ratio",
    "doc_vol10_ratio",
    "doc_vol50_ratio",
    "doc_wstd",
    "doc_wskew",
    "doc_wkurt",
)
COLUMNS = ("symbol", "hour_ts", *D_COLUMNS, *E_COLUMNS)

# Full-day closures of the New York Stock Exchange.
_CLOSURES = """
    2020-01-01 2020-01-20 2020-02-17 2020-04-10 2020-05-25 2020-07-03 2020-09-07
    2020-11-26 2020-12-25 2021-01-01 2021-01-18 2021-02-15 2021-04-02 2021-05-31
    2021-07-05 2021-09-06 2021-11-25 2021-12-24 2022-01-17 2022-02-21 2022-04-15
    2022-05-30 2022-06-20 2022-07-04 2022-09-05 2022-11-24 2022-12-26 2023-01-02
    2023-01-16 2023-02-20 2023-04-07 2023-05-29 2023-06-19 2023-07-04 2023-09-04
    2023-11-23 2023-12-25 2024-01-01 2024-01-15 2024-02-19 2024-03-29 2024-05-27
    2024-06-19 2024-07-04 2024-09-02 2024-11-28 2024-12-25 2025-01-01 2025-01-09
    2025-01-20 2025-02-17 2025-04-18 2025-05-26 2025-06-19 2025-07-04 2025-09-01
    2025-11-27 2025-12-25 2026-01-01 2026-01-19 2026-02-16 2026-04-03 2026-05-25
    2026-06-19 2026-07-03 2026-09-07 2026-11-26 2026-12-25
"""
NYSE_HOLIDAYS = tuple(date.fromisoformat(day) for day in _CLOSURES.split())


def us_open_windows(first: date, last: date) -> list[tuple[datetime, datetime]]:
    """First and last minute (naive UTC) of each first hour of New York trading."""
    new_york = ZoneInfo("America/New_York")
    windows = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if day.weekday() >= 5 or day in NYSE_HOLIDAYS:
            continue
        start = datetime.combine(day, time(9, 30), new_york).astimezone(UTC)
        start = start.replace(tzinfo=None)
        windows.append((start, start + timedelta(minutes=59)))
    return windows
