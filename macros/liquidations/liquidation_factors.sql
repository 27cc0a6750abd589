{% macro liquidation_factors(bars, minutes) -%}
{%- set names = liquidation_names() -%}
{%- set z_of_them = names.buckets + names.shape + names.net + names.net_whale
    + ['diff_skew', 'liq_imbalance'] -%}
{%- set breakout_of = names.buckets + names.total -%}
{%- set plain = names.buckets + names.shape + names.game
    + ['kurt_long', 'kurt_short', 'diff_skew'] + names.panic + names.net_whale
    + names.whale_retail -%}
with
bars as (
    select * from {{ bars }}
    where {{ in_reach('bar_ts') }}
),

compared as (
    select
        *,
        long_liq_volume as total_vol_long,
        short_liq_volume as total_vol_short,
        {{ safe_div(
            'short_liq_volume - long_liq_volume', 'short_liq_volume + long_liq_volume'
        ) }} as liq_imbalance,
        skew_long - skew_short as diff_skew,
        {% for lb in var('liq_lb') %}
        long_liq_volume as total_vol_long_lb{{ lb }},
        short_liq_volume as total_vol_short_lb{{ lb }},
        long_liq_volume - short_liq_volume as diff_net_burn_vol_lb{{ lb }},
        sum_long_large_lb{{ lb }} - sum_short_large_lb{{ lb }} as diff_net_whale_vol_lb{{ lb }},
        {% for side in ('long', 'short') %}
        {{ safe_div('sum_' ~ side ~ '_large_lb' ~ lb, side ~ '_liq_volume') }}
            as ratio_whale_{{ side }}_lb{{ lb }},
        {{ safe_div('count_' ~ side ~ '_small_lb' ~ lb, side ~ '_liq_count') }}
            as ratio_retail_{{ side }}_lb{{ lb }},
        {{ safe_ln(safe_div(
            'sum_' ~ side ~ '_large_lb' ~ lb, 'sum_' ~ side ~ '_small_lb' ~ lb
        )) }} as ratio_whale_retail_{{ side }}_lb{{ lb }}
        {{- ',' if not loop.last }}
        {% endfor %}
        {{- ',' if not loop.last }}
        {% endfor %}
    from bars
),

windowed as (
    select
        *,
        {% for hours in var('mining_windows') %}
        {% set enough = (hours * 60 // minutes + 1) // 2 %}
        {% for x in z_of_them %}
        {{ baseline_of(x, 'before_' ~ hours, x ~ '_w' ~ hours) }},
        {% endfor %}
        {% for x in breakout_of %}
        {% set positive = 'case when ' ~ x ~ ' > 0 then ' ~ x ~ ' end' %}
        count({{ positive }}) over before_{{ hours }} as {{ x }}_w{{ hours }}_active,
        {% for q in var('mining_quantiles') %}
        {{ pct(positive, q) }} over before_{{ hours }}
            as {{ x }}_w{{ hours }}_q{{ (q * 100) | round | int }},
        {% endfor %}
        {% endfor %}
        {% for x in names.buckets %}
        {{ rank_of(x, 'up_to_' ~ hours, enough) }} as {{ x }}_w{{ hours }}_rank
        {{- ',' if not loop.last }}
        {% endfor %}
        {{- ',' if not loop.last }}
        {% endfor %}
    from compared
    window
        {% for hours in var('mining_windows') %}
        before_{{ hours }} as (
            {{ bars_before(hours, minutes, false) }}
        ),
        up_to_{{ hours }} as (
            {{ bars_before(hours, minutes, true) }}
        ){{ ',' if not loop.last }}
        {% endfor %}
),

final as (
    select
        symbol,
        bar_ts,
        {% for x in plain %}
        {{ x if x.startswith('count_') else finite(x) }} as {{ x }},
        {% endfor %}
        {% for hours in var('mining_windows') %}
        {% set enough = (hours * 60 // minutes + 1) // 2 %}
        {% for x in z_of_them %}
        {{ finite(z_of(x, x ~ '_w' ~ hours, enough)) }}
            as feat_z_{{ x }}_w{{ hours }},
        {% endfor %}
        {% for x in breakout_of %}
        {% for q in var('mining_quantiles') %}
        {% set window = x ~ '_w' ~ hours %}
        {% set quantile = (q * 100) | round | int %}
        {{ finite(
            'case when ' ~ window ~ '_active >= ' ~ var('brk_min_pos') ~ ' then '
            ~ safe_div(x, window ~ '_q' ~ quantile) ~ ' end'
        ) }} as feat_brk_{{ window }}_q{{ quantile }},
        {% endfor %}
        {% endfor %}
        {% for x in names.buckets %}
        {{ finite(x ~ '_w' ~ hours ~ '_rank') }}
            as feat_rank_{{ x }}_w{{ hours }}{{ ',' if not loop.last }}
        {% endfor %}
        {{- ',' if not loop.last }}
        {% endfor %}
    from windowed
)

select * from final
{%- endmacro %}
