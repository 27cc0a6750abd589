{#-
    Twelve rows of a factor stand side by side in a block, so that a frame of 168 rows is 13 whole blocks, which are
    summed once, and 12 rows at its edges. Blocks begin at hours of the calendar and are added in one order: what a row
    is given depends, to the last bit, on its own frame alone. Ranks and medians have no sums and are taken row by row.

    Columns of a block: x_<back>_<position> are its rows (back 0) and those of other blocks, n_.. whether a row has a
    value, d<k>_.. the k-th power of its distance from the centre. Sums of powers are s<k>, their count is n.
-#}
{%- set transforms = var('transforms') -%}
{%- set marts = transforms | map(attribute='mart') | unique | list -%}
{%- set size = block_rows() -%}
{%- set own = own_cells(size) -%}
{%- set others = other_cells(size) -%}
{%- set frames = moment_frames() -%}
{%- set powers = frames.values() | map(attribute='powers') | max if frames else 0 -%}
{%- set half_lives = decay_half_lives() -%}
{%- set in_blocks = transform_factors(['z', 'skew', 'kurt', 'snr', 'ewm', 'mem']) -%}
{%- set names = [] -%}
{%- set block_factors = in_blocks.values() | sum(start=[]) | unique | list -%}

{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 174}) }}

with
{% for mart in marts %}
{{ mart }} as (
    select * from {{ ref(mart) }}
    where {{ in_reach('hour_ts') }}
),

{% endfor %}
spine as (
    select
        *,
        cast(
            {{ seconds_between("timestamp '1970-01-01 00:00:00'", 'hour_ts') }} / 3600 as bigint
        ) as hour_no
    from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

mapped as (
    select
        {% for line in transforms %}
        {{ transform_map(line.map, line.mart ~ '.' ~ line.factor) }} as {{ line.factor }},
        {% endfor %}
        spine.symbol,
        spine.hour_ts,
        spine.bar_end_time,
        spine.feature_time,
        spine.has_bar,
        spine.listing_segment,
        spine.hour_no,
        cast(floor(spine.hour_no / {{ size }}e0) as bigint) as block
    from spine
    {% for mart in marts %}
    left join {{ mart }}
        on
            spine.symbol = {{ mart }}.symbol
            and spine.hour_ts = {{ mart }}.hour_ts
    {% endfor %}
),

{% if in_blocks %}
blocks as (
    select
        {% for factor in block_factors %}
        {% for position in range(size) %}
        max(case when hour_no = block * {{ size }} + {{ position }} then {{ factor }} end)
            as {{ factor }}_{{ position }},
        {% endfor %}
        {% endfor %}
        symbol,
        listing_segment,
        block
    from mapped
    group by symbol, listing_segment, block
),

{% set columns = {'factor': []} %}
{% for factor in block_factors %}
{% do columns.factor.append("'" ~ factor ~ "'") %}
{% for cell in own %}
{% do columns.setdefault(cell_name('x', cell), []).append(factor ~ '_' ~ cell[1]) %}
{% endfor %}
{% endfor %}
series as (
    select
        symbol,
        listing_segment,
        block,
        {{ unpivot_columns(columns) }}
    from blocks
),

anchored as (
    select
        *,
        {% for cell in own %}
        case when {{ cell_name('x', cell) }} is null then 0e0 else 1e0 end as {{ cell_name('n', cell) }},
        {% endfor %}
        coalesce(
            {% for cell in own | reverse %}
            {{ cell_name('x', cell) }},
            {% endfor %}
            null
        ) as anchor
    from series
),

distances as (
    select
        *,
        {% for cell in own %}
        coalesce({{ cell_name('x', cell) }} - anchor, 0e0) as {{ cell_name('e', cell) }}
        {{- ',' if not loop.last }}
        {% endfor %}
    from anchored
),

summed as (
    select
        symbol,
        listing_segment,
        block,
        factor,
        anchor,
        {{ cells_joined('n', own) }} as n,
        {% for k in range(1, powers + 1) %}
        {% for cell in own %}
        {{ '+ ' if not loop.first }}{{ power_of(cell_name('e', cell), k) }}
        {% endfor %}
            as s{{ k }},
        {% endfor %}
        {% for half_life in half_lives %}
        {{ decayed_block('x', half_life, size) }} as x_decayed_{{ half_life }},
        {{ decayed_block('n', half_life, size) }} as n_decayed_{{ half_life }},
        {% endfor %}
        {% for cell in own %}
        {{ cell_name('x', cell) }},
        {{ cell_name('n', cell) }}{{ ',' if not loop.last }}
        {% endfor %}
    from distances
),

beside as (
    select
        *,
        {% for back in range(1, most_blocks(size) + 1) %}
        lag(anchor, {{ back }}) over by_block as anchor_{{ back }},
        lag(n, {{ back }}, 0e0) over by_block as n_{{ back }},
        {% for k in range(1, powers + 1) %}
        lag(s{{ k }}, {{ back }}, 0e0) over by_block as s{{ k }}_{{ back }},
        {% endfor %}
        {% endfor %}
        {% for half_life in half_lives %}
        {% for prefix in ['x', 'n'] %}
        {% for back in range(1, whole_blocks(10 * half_life, 1, size) + 1) %}
        {{ '+ ' if not loop.first -}}
        lag({{ prefix }}_decayed_{{ half_life }}, {{ back }}, 0e0) over by_block
        * {{ decay_weight((back - 1) * size, half_life) }}
        {% endfor %}
            as {{ prefix }}_past_{{ half_life }},
        {% endfor %}
        {% endfor %}
        {% for cell in others %}
        {{ 'lag' if cell[0] > 0 else 'lead' }}(x_0_{{ cell[1] }}, {{ cell[0] | abs }}) over by_block
            as {{ cell_name('x', cell) }}{{ ',' if not loop.last }}
        {% endfor %}
    from summed
    window by_block as (
        partition by symbol, listing_segment, factor
        order by block nulls last
    )
),

{#- The last value before the block is in every frame of the block's rows, so distances from it are exact where a
    series hardly moves. -#}
centred as (
    select
        *,
        {% for cell in others %}
        case when {{ cell_name('x', cell) }} is null then 0e0 else 1e0 end as {{ cell_name('n', cell) }},
        {% endfor %}
        coalesce(
            {% for back in range(1, most_blocks(size) + 1) %}
            anchor_{{ back }},
            {% endfor %}
            null
        ) as centre
    from beside
),

shifted as (
    select
        {% if frames %}
        {% for cell in own + others %}
        coalesce({{ cell_name('x', cell) }} - centre, 0e0) as {{ cell_name('d1', cell) }},
        {% endfor %}
        {% for back in range(1, most_blocks(size) + 1) %}
        coalesce(anchor_{{ back }} - centre, 0e0) as shift_{{ back }},
        {% endfor %}
        {% endif %}
        *
    from centred
),

powered as (
    select
        {% for name, frame in frames.items() %}
        {% for k in range(frame.powers + 1) %}
        {% for back in range(1, whole_blocks(frame.rows, frame.newest, size) + 1) %}
        {{ '+ ' if not loop.first }}({{ shifted_power_sum(k, back) }})
        {% endfor %}
            as {{ name }}_{{ 's' ~ k if k else 'n' }},
        {% endfor %}
        {% endfor %}
        {% for k in range(2, powers + 1) %}
        {% for cell in own + others %}
        {{ power_of(cell_name('d1', cell), k) }} as {{ cell_name('d' ~ k, cell) }},
        {% endfor %}
        {% endfor %}
        *
    from shifted
),

framed as (
    select
        {% for name, frame in frames.items() %}
        {% for position in range(size) %}
        {% set edges = edge_cells(position, frame.rows, frame.newest, size) %}
        {{ if_enough(name ~ '_n + ' ~ cells_joined('n', edges), min_rows(frame.rows)) }}
            as {{ name }}_{{ position }}_n,
        {% for k in range(1, frame.powers + 1) %}
        {{ name }}_s{{ k }} + {{ cells_joined('d' ~ k, edges) }} as {{ name }}_{{ position }}_s{{ k }},
        {% endfor %}
        {% endfor %}
        {% endfor %}
        {% for half_life in half_lives %}
        {% for position in range(size) %}
        {% for prefix in ['x', 'n'] %}
        {{ decayed_to(prefix, half_life, position, size) }}
            as {{ prefix }}_decayed_{{ half_life }}_{{ position }},
        {% endfor %}
        {% endfor %}
        {% endfor %}
        *
    from powered
),

signals as (
    select
        symbol,
        listing_segment,
        block,
        factor,
        {#- For every factor, asked for or not: to choose takes longer. #}
        {% for name in in_blocks %}
        {{ transform_block(name, size) }} as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from framed
),

wide as (
    select
        symbol,
        listing_segment,
        {% for name, factors in in_blocks.items() %}
        {% for factor in factors %}
        {% do names.append('g_' ~ name ~ '_' ~ factor) %}
        {{ value_where(name, "factor = '" ~ factor ~ "'") }} as {{ names[-1] }},
        {% endfor %}
        {% endfor %}
        {{ vector_range('block * ' ~ size, '(block + 1) * ' ~ size) }} as hour_no
    from signals
    group by symbol, listing_segment, block
),

hours as (
    select
        symbol,
        listing_segment,
        {{ explode_together(names + ['hour_no']) }}
    from wide
),

{% endif %}
ranked as (
    select
        {% for name, factors in transform_factors(['rank', 'rz']).items() %}
        {% for factor in factors %}
        {{ transform_row(name, factor) }} as g_{{ name }}_{{ factor }},
        {% endfor %}
        {% endfor %}
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        hour_no
    from mapped
    {% for name in transform_factors(['rank', 'rz']) %}
    {{ 'window' if loop.first }}
        {{ 'to' if transform_kind(name) == 'rank' else 'before' }}_{{ transform_rows(name) }} as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between
            {{ transform_rows(name) - (1 if transform_kind(name) == 'rank' else 0) }} preceding
            and {{ 'current row' if transform_kind(name) == 'rank' else '1 preceding' }}
        ){{ ',' if not loop.last }}
    {% endfor %}
),

final as (
    select
        ranked.symbol,
        ranked.hour_ts,
        ranked.bar_end_time,
        ranked.feature_time,
        ranked.has_bar,
        ranked.listing_segment,
        {% for column in transform_columns() %}
        {% set origin = 'earlier.' if column.startswith('g_snr_') else 'hours.' if column in names else 'ranked.' %}
        {{ finite(origin ~ column) }} as {{ column }}{{ ',' if not loop.last }}
        {% endfor %}
    from ranked
    {% if in_blocks %}
    left join hours
        on
            ranked.symbol = hours.symbol
            and ranked.listing_segment = hours.listing_segment
            and ranked.hour_no = hours.hour_no
    {% endif %}
    {% if 'snr' in in_blocks %}
    left join hours as earlier
        on
            ranked.symbol = earlier.symbol
            and ranked.listing_segment = earlier.listing_segment
            and ranked.hour_no = earlier.hour_no + 5
    {% endif %}
)

select * from final
