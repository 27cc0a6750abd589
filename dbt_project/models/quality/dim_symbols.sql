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

lineage as (
    select * from {{ ref('symbol_lineage') }}
),

files as (
    select * from {{ ref('stg_lake__landing_files') }}
    where
        source = 'vision'
        and is_current
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

-- What the archive lists, as far as it was asked: files that are broken are there too.
archived as (
    select
        symbol,
        min(substr(period, 1, 7)) as first_archived_month,
        max(substr(period, 1, 7)) as last_archived_month
    from files
    where outcome <> 'absent_upstream'
    group by symbol
),

newest_look as (
    select max(snapshot_time) as snapshot_time
    from snapshots
),

predecessors as (
    select
        successor as symbol,
        min(predecessor) as predecessor
    from lineage
    group by successor
),

known as (
    select
        coalesce(on_record.symbol, universe.symbol) as symbol,
        coalesce(universe.in_universe, false) as in_universe,
        universe.reason as universe_note,
        coalesce(on_record.n_datasets, 0) as n_datasets,
        on_record.first_month,
        on_record.last_month
    from on_record
    full outer join universe on on_record.symbol = universe.symbol
),

described as (
    select
        known.*,
        regexp_replace(known.symbol, '(SETTLED)+$', '') as base_contract,
        listings.listed_ts,
        listings.last_trade_ts,
        listings.delisted_ts,
        coalesce(segments.n_listing_segments, 0) as n_listing_segments,
        coalesce(segments.n_bars, 0) as n_bars,
        archived.first_archived_month,
        archived.last_archived_month,
        terms.contract_type,
        terms.status,
        terms.underlying_type,
        terms.onboard_date,
        terms.delivery_date,
        terms.tick_size,
        terms.lot_size,
        terms.snapshot_time as terms_seen_at,
        case
            when newest_look.snapshot_time is not null
                then coalesce(terms.snapshot_time = newest_look.snapshot_time, false)
        end as is_in_exchange_info,
        -- A perpetual's delivery lies far in the future, until it is settled.
        case
            when terms.delivery_date <= terms.snapshot_time then terms.delivery_date
        end as settled_ts,
        predecessors.predecessor,
        lineage.successor
    from known
    cross join newest_look
    left join listings on known.symbol = listings.symbol
    left join segments on known.symbol = segments.symbol
    left join archived on known.symbol = archived.symbol
    left join terms on known.symbol = terms.symbol
    left join predecessors on known.symbol = predecessors.symbol
    left join lineage on known.symbol = lineage.predecessor
),

settled_names as (
    select distinct base_contract as symbol
    from described
    where base_contract <> symbol
),

-- The exchange states when the newest contract of a name was listed; an earlier tape is another's.
sourced as (
    select
        described.*,
        settled_names.symbol is not null as has_settled_contract,
        case
            when described.onboard_date <= coalesce(described.listed_ts, described.onboard_date)
                then 'exchange_info'
            when described.listed_ts is not null then 'first_bar'
            when described.first_archived_month is not null then 'first_file'
        end as listing_source,
        case
            when described.settled_ts >= coalesce(described.last_trade_ts, described.settled_ts)
                then 'exchange_info'
            when described.delisted_ts is not null then 'last_trade'
        end as delisting_source
    from described
    left join settled_names on described.symbol = settled_names.symbol
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(in_universe as boolean) as in_universe,
        cast(universe_note as string) as universe_note,
        cast(
            case
                when in_universe then null
                when universe_note is not null then universe_note
                when base_contract <> symbol then 'an earlier contract of ' || base_contract
                when contract_type <> 'PERPETUAL' then 'contract type is ' || contract_type
                when underlying_type <> 'COIN' then 'underlying type is ' || underlying_type
                when substr(symbol, length(symbol) - 6, 1) = '_' then 'a delivery contract'
                else 'not in the seed universe'
            end as string
        ) as exclusion_reason,
        cast(listed_ts as timestamp) as listed_ts,
        cast(last_trade_ts as timestamp) as last_trade_ts,
        cast(delisted_ts as timestamp) as delisted_ts,
        cast(delisted_ts is not null as boolean) as is_delisted,
        cast(
            case listing_source
                when 'exchange_info' then onboard_date
                when 'first_bar' then listed_ts
                when 'first_file' then cast(first_archived_month || '-01' as timestamp)
            end as timestamp
        ) as listing_ts,
        cast(listing_source as string) as listing_source,
        cast(
            case delisting_source
                when 'exchange_info' then settled_ts
                when 'last_trade' then delisted_ts
            end as timestamp
        ) as delisting_ts,
        cast(delisting_source as string) as delisting_source,
        cast(n_listing_segments as int) as n_listing_segments,
        cast(n_listing_segments > 1 or has_settled_contract as boolean) as is_name_reused,
        cast(base_contract as string) as base_contract,
        cast(base_contract <> symbol as boolean) as is_settled_contract,
        cast(predecessor as string) as predecessor,
        cast(successor as string) as successor,
        cast(n_bars as bigint) as n_bars,
        cast(n_datasets as int) as n_datasets,
        cast(first_month as string) as first_month,
        cast(last_month as string) as last_month,
        cast(first_archived_month as string) as first_archived_month,
        cast(last_archived_month as string) as last_archived_month,
        cast(contract_type as string) as contract_type,
        cast(status as string) as status,
        cast(underlying_type as string) as underlying_type,
        cast(onboard_date as timestamp) as onboard_date,
        cast(delivery_date as timestamp) as delivery_date,
        cast(tick_size as double) as tick_size,
        cast(lot_size as double) as lot_size,
        cast(terms_seen_at as timestamp) as terms_seen_at,
        cast(is_in_exchange_info as boolean) as is_in_exchange_info
    from sourced
)

select * from final
