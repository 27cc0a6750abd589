-- The tiers' weights are shares of one whole.

with
tiers as (
    select * from {{ ref('leverage_tiers') }}
),

totals as (
    select sum(weight) as weight from tiers
),

final as (
    select weight from totals
    where weight is null or abs(weight - 1e0) > 1e-12
)

select * from final
