{#- Rates and shares stand still for hours and then move in the last digits. The engine's deviation of such
    rows depends, in the twelfth digit, on how it adds up; that of exact sums does not. Larger numbers, whose
    squares have more digits than a decimal, do not stand still. -#}
{% macro transform_z(part, x, rows, name) -%}
    {%- set small = 'cast(case when abs(' ~ x ~ ') < 10e0 then ' ~ x ~ ' end as decimal(17, 16))' -%}
    {%- set total = 'cast(' ~ name ~ '_small_sum as decimal(20, 16))' -%}
    {%- set mean = 'cast(' ~ name ~ '_sum / ' ~ name ~ '_n as decimal(17, 16))' -%}
    {%- set rest = '(' ~ total ~ ' - cast(' ~ name ~ '_n as decimal(19, 0)) * ' ~ mean ~ ')' -%}
    {%- if part == 'frame' -%}
        sum({{ small }}) over before_{{ rows }} as {{ name }}_small_sum,
        sum({{ small }} * {{ small }}) over before_{{ rows }} as {{ name }}_small_squares,
        {{ baseline_of(x, 'before_' ~ rows, name) }}
    {%- elif rows < 1000 -%}
        case
            when greatest(abs({{ name }}_min), abs({{ name }}_max)) >= 10e0
                then {{ z_of(x, name, min_rows(rows)) }}
            when {{ name }}_n >= {{ min_rows(rows) }} and {{ name }}_min < {{ name }}_max
                then ({{ x }} - {{ name }}_sum / {{ name }}_n) / nullif(sqrt(greatest(
                    cast({{ name }}_small_squares - {{ mean }} * {{ total }} as double)
                    - cast({{ rest }} as double) * cast({{ mean }} as double),
                    0e0
                ) / ({{ name }}_n - 1e0)), 0e0)
        end
    {%- else -%}
        {{ z_of(x, name, min_rows(rows)) }}
    {%- endif -%}
{%- endmacro %}
