with
partitions as (
    select * from {{ ref('stg_lake__landing_log') }}
    where is_current
),

listings as (
    select * from {{ ref('int_listings') }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
),

universe as (
    select * from {{ ref('universe') }}
),

snapshots as (
    select * from {{ ref('stg_api__exchange_info') }}
),

ranked_snapshots as (
    select
        *,
        row_number() over (partition by symbol order by snapshot_time desc nulls last) as recency
    from snapshots
),

terms as (
    select * from ranked_snapshots
    where recency = 1
),

on_record as (
    select
        symbol,
        count(distinct case when rows_out > 0 then source || '/' || dataset end) as n_datasets,
        min(case when rows_out > 0 then month end) as first_month,
        max(case when rows_out > 0 then month end) as last_month
    from partitions
    where symbol <> '_market'
    group by symbol
),

segments as (
    select
        symbol,
        max(listing_segment) as n_listing_segments,
        sum(has_bar) as n_bars
    from spine
    group by symbol
),

final as (
    select
        cast(coalesce(on_record.symbol, universe.symbol) as string) as symbol,
        cast(coalesce(universe.in_universe, false) as boolean) as in_universe,
        cast(universe.reason as string) as universe_note,
        cast(listings.listed_ts as timestamp) as listed_ts,
        cast(listings.last_trade_ts as timestamp) as last_trade_ts,
        cast(listings.delisted_ts as timestamp) as delisted_ts,
        cast(listings.delisted_ts is not null as boolean) as is_delisted,
        cast(coalesce(segments.n_listing_segments, 0) as int) as n_listing_segments,
        cast(coalesce(segments.n_bars, 0) as bigint) as n_bars,
        cast(coalesce(on_record.n_datasets, 0) as int) as n_datasets,
        cast(on_record.first_month as string) as first_month,
        cast(on_record.last_month as string) as last_month,
        cast(terms.contract_type as string) as contract_type,
        cast(terms.status as string) as status,
        cast(terms.underlying_type as string) as underlying_type,
        cast(terms.onboard_date as timestamp) as onboard_date,
        cast(terms.tick_size as double) as tick_size,
        cast(terms.lot_size as double) as lot_size,
        cast(terms.snapshot_time as timestamp) as terms_seen_at
    from on_record
    full outer join universe on on_record.symbol = universe.symbol
    left join listings on coalesce(on_record.symbol, universe.symbol) = listings.symbol
    left join segments on coalesce(on_record.symbol, universe.symbol) = segments.symbol
    left join terms on coalesce(on_record.symbol, universe.symbol) = terms.symbol
)

select * from final
