{% macro liquidation_factor_names() %}
    {%- set names = liquidation_names() -%}
    {%- set all = names.buckets + names.shape + names.game -%}
    {%- set more = ['kurt_long', 'kurt_short', 'diff_skew'] + names.panic + names.net_whale
        + names.whale_retail -%}
    {%- for hours in var('mining_windows') -%}
        {%- for x in names.buckets + names.shape + names.net -%}
            {%- do all.append('feat_z_' ~ x ~ '_w' ~ hours) -%}
        {%- endfor -%}
        {%- for x in names.net_whale + ['diff_skew', 'liq_imbalance'] -%}
            {%- do more.append('feat_z_' ~ x ~ '_w' ~ hours) -%}
        {%- endfor -%}
        {%- for q in var('mining_quantiles') -%}
            {%- set frame = '_w' ~ hours ~ '_q' ~ (q * 100) | round | int -%}
            {%- for x in names.buckets -%}
                {%- do all.append('feat_brk_' ~ x ~ frame) -%}
            {%- endfor -%}
            {%- for x in names.total -%}
                {%- do more.append('feat_brk_' ~ x ~ frame) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- for x in names.buckets -%}
            {%- do more.append('feat_rank_' ~ x ~ '_w' ~ hours) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(all + more) }}
{% endmacro %}
