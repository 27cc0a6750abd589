{% macro liquidation_names() %}
    {%- set names = {
        'buckets': [],
        'shape': ['skew_long', 'skew_short'],
        'game': [],
        'net': [],
        'panic': [],
        'net_whale': [],
        'whale_retail': [],
        'total': ['total_vol_long', 'total_vol_short'],
    } -%}
    {%- for lb in var('liq_lb') -%}
        {%- for side in ('long', 'short') -%}
            {%- for size in ('large', 'small', 'med') -%}
                {%- for measure in ('sum', 'count') -%}
                    {%- do names.buckets.append([measure, side, size, 'lb' ~ lb] | join('_')) -%}
                {%- endfor -%}
            {%- endfor -%}
            {%- do names.panic.append('ratio_retail_' ~ side ~ '_lb' ~ lb) -%}
            {%- do names.whale_retail.append('ratio_whale_retail_' ~ side ~ '_lb' ~ lb) -%}
        {%- endfor -%}
        {%- for name in ('total_vol_long', 'total_vol_short', 'diff_net_burn_vol',
                         'ratio_whale_long', 'ratio_whale_short') -%}
            {%- do names.game.append(name ~ '_lb' ~ lb) -%}
        {%- endfor -%}
        {%- do names.net.append('diff_net_burn_vol_lb' ~ lb) -%}
        {%- do names.net_whale.append('diff_net_whale_vol_lb' ~ lb) -%}
    {%- endfor -%}
    {{ return(names) }}
{% endmacro %}
