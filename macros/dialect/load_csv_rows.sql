{#- The rows of a seed. dbt-spark's own form writes the word None where a session shall have a NULL. -#}
{% macro spark__load_csv_rows(model, agate_table) %}
    {%- set types = model['config'].get('column_types', {}) -%}
    {%- set rows = [] -%}
    {%- for row in agate_table.rows -%}
        {%- set values = [] -%}
        {%- for name in agate_table.column_names -%}
            {%- set text = 'null' if row[loop.index0] is none
                else "'" ~ row[loop.index0] | string | replace('\\', '\\\\') | replace("'", "\\'") ~ "'" -%}
            {%- set type = types.get(name, adapter.convert_type(agate_table, loop.index0)) -%}
            {%- do values.append('cast(' ~ text ~ ' as ' ~ type ~ ')') -%}
        {%- endfor -%}
        {%- do rows.append('(' ~ values | join(', ') ~ ')') -%}
    {%- endfor -%}
    {%- if rows -%}
        {%- set query = 'insert into ' ~ this.render() ~ ' values ' ~ rows | join(', ') -%}
        {%- do adapter.add_query(query, abridge_sql_log=True) -%}
        {{ return(query) }}
    {%- endif -%}
{% endmacro %}
