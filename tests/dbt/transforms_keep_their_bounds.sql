-- A rank outside 0 to 1, or a shape that no values can have: it is extreme if one of n differs.
{%- set slack = 1.000001 %}
select
    symbol,
    hour_ts
from {{ ref('hourly_transforms') }}
where
    false
    {% for line in var('transforms') %}
    {% for name in line.transforms %}
    {% set column = 'g_' ~ name ~ '_' ~ line.factor %}
    {% set rows = name.lstrip('abcdefghijklmnopqrstuvwxyz') %}
    {% if name.startswith('rank') %}
    or {{ column }} not between 0 and 1
    {% elif name.startswith('skew') %}
    or abs({{ column }}) > {{ slack }} * sqrt({{ rows }})
    {% elif name.startswith('kurt') %}
    or {{ column }} not between -6 and {{ slack }} * {{ rows }}
    {% endif %}
    {% endfor %}
    {% endfor %}
