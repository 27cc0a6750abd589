with
source as (
    select * from {{ source('api', 'exchange_info') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(snapshot_time as timestamp) as snapshot_time,
        cast(pair as string) as pair,
        cast(contract_type as string) as contract_type,
        cast(status as string) as status,
        cast(onboard_date as timestamp) as onboard_date,
        cast(delivery_date as timestamp) as delivery_date,
        cast(base_asset as string) as base_asset,
        cast(quote_asset as string) as quote_asset,
        cast(margin_asset as string) as margin_asset,
        cast(underlying_type as string) as underlying_type,
        cast(underlying_sub_type as string) as underlying_sub_type,
        {{ finite('tick_size') }} as tick_size,
        {{ finite('lot_size') }} as lot_size,
        {{ finite('min_notional') }} as min_notional,
        {{ finite('liquidation_fee') }} as liquidation_fee,
        {{ finite('market_take_bound') }} as market_take_bound
    from source
)

select * from final
