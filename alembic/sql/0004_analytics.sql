-- What client areas and reports show, computed from the mirror: schema analytics.
-- In every body $1 is the platform, $2 the account, $3 and $4 the period: from $3 on, before $4, null for an open end.
-- A deal of trading is one whose side is neither 2 (balance) nor 3 (credit). What a deal does to the balance is the sum of profit,
-- commission, swap, storage and fee; what was not sent is nothing.
-- A statement ends with a semicolon before an empty line; bodies are indented.

CREATE SCHEMA analytics;

CREATE FUNCTION analytics.realised_pnl(platform text, account_id bigint, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL)
RETURNS TABLE (currency text, net numeric, gross numeric, commission numeric, swap numeric, fee numeric,
    commission_usd numeric, swap_usd numeric, closing_deals bigint)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.currency, coalesce(r.net, 0), r.gross, r.commission, r.swap, r.fee, r.commission_usd, r.swap_usd, r.closing_deals
    FROM mirror.accounts a CROSS JOIN LATERAL (
        SELECT sum(coalesce(d.profit, 0) + coalesce(d.commission, 0) + coalesce(d.swap, 0) + coalesce(d.storage, 0)
                + coalesce(d.fee, 0)) AS net,
            -- Where a platform tells no costs they are inside the profit, and nobody knows what it was before them.
            CASE WHEN bool_and(coalesce(d.commission, d.swap, d.storage, d.fee) IS NOT NULL)
                THEN sum(coalesce(d.profit, 0)) END AS gross,
            sum(d.commission) AS commission,
            sum(coalesce(d.swap + d.storage, d.swap, d.storage)) AS swap,
            sum(d.fee) AS fee, sum(d.commission_usd) AS commission_usd, sum(d.swap_usd) AS swap_usd,
            count(*) FILTER (WHERE d.direction = 1) AS closing_deals
        FROM mirror.deals d
        WHERE d.platform = $1 AND d.account_id = $2 AND (d.side IN (2, 3)) IS NOT TRUE AND d.deleted_at IS NULL
            AND d.created_at >= coalesce($3, '-infinity') AND d.created_at < coalesce($4, 'infinity')
    ) r
    WHERE a.platform = $1 AND a.id = $2 AND a.deleted_at IS NULL
$$;

CREATE FUNCTION analytics.win_loss(platform text, account_id bigint, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL)
RETURNS TABLE (closing_deals bigint, won bigint, lost bigint, even bigint, ratio numeric, win_rate numeric)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.closing_deals, r.won, r.lost, r.closing_deals - r.won - r.lost,
        round(CAST(r.won AS numeric) / nullif(r.lost, 0), 4),
        round(CAST(100 * r.won AS numeric) / nullif(r.closing_deals, 0), 2)
    FROM mirror.accounts a CROSS JOIN LATERAL (
        SELECT count(*) AS closing_deals, count(*) FILTER (WHERE n.net > 0) AS won, count(*) FILTER (WHERE n.net < 0) AS lost
        FROM (
            SELECT coalesce(d.profit, 0) + coalesce(d.commission, 0) + coalesce(d.swap, 0) + coalesce(d.storage, 0)
                + coalesce(d.fee, 0) AS net
            FROM mirror.deals d
            WHERE d.platform = $1 AND d.account_id = $2 AND d.direction = 1 AND (d.side IN (2, 3)) IS NOT TRUE
                AND d.deleted_at IS NULL
                AND d.created_at >= coalesce($3, '-infinity') AND d.created_at < coalesce($4, 'infinity')
        ) n
    ) r
    WHERE a.platform = $1 AND a.id = $2 AND a.deleted_at IS NULL
$$;

CREATE FUNCTION analytics.most_traded(platform text, account_id bigint, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL)
RETURNS TABLE (level text, name text, trades bigint, share numeric, counted text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH shown AS (
        -- Not EXISTS, which the planner answers by reading the whole table where it takes every platform for the same.
        SELECT (SELECT o.id FROM mirror.orders o WHERE o.platform = $1 ORDER BY o.id LIMIT 1) IS NOT NULL AS orders
    ), trades AS (
        SELECT nullif(o.symbol_id, 0) AS symbol_id, o.symbol, count(*) AS trades FROM mirror.orders o
        WHERE (SELECT s.orders FROM shown s) AND o.platform = $1 AND o.account_id = $2 AND o.deleted_at IS NULL
            AND o.created_at >= coalesce($3, '-infinity') AND o.created_at < coalesce($4, 'infinity')
        GROUP BY o.symbol_id, o.symbol
        UNION ALL
        SELECT nullif(p.symbol_id, 0), p.symbol, count(*) FROM mirror.positions p
        WHERE NOT (SELECT s.orders FROM shown s) AND p.platform = $1 AND p.account_id = $2 AND p.deleted_at IS NULL
            AND p.created_at >= coalesce($3, '-infinity') AND p.created_at < coalesce($4, 'infinity')
        GROUP BY p.symbol_id, p.symbol
    ), named AS (
        -- A symbol that is gone still tells what was traded. cTrader names symbols, and its names may be known without an id.
        SELECT t.trades, coalesce(t.symbol, i.symbol) AS symbol, coalesce(i.category, n.category) AS category,
            coalesce(i.asset_class, i.symbol_class ->> 'desc', n.asset_class, n.class) AS asset_class
        FROM trades t LEFT JOIN mirror.symbols i ON i.platform = $1 AND i.id = t.symbol_id
        LEFT JOIN (
            SELECT DISTINCT ON (s.symbol) s.symbol, s.category, s.asset_class, s.symbol_class ->> 'desc' AS class
            FROM mirror.symbols s WHERE s.platform = $1 ORDER BY s.symbol, s.deleted_at IS NOT NULL, s.id
        ) n ON t.symbol_id IS NULL AND n.symbol = t.symbol
    )
    SELECT g.level, g.name, g.trades, round(100 * g.trades / sum(g.trades) OVER (PARTITION BY g.level), 2),
        CASE WHEN s.orders THEN 'orders' ELSE 'positions' END
    FROM shown s CROSS JOIN (
        SELECT CASE WHEN grouping(n.symbol) = 0 THEN 'symbol' WHEN grouping(n.category) = 0 THEN 'category'
                ELSE 'asset_class' END AS level,
            coalesce(n.symbol, n.category, n.asset_class) AS name, CAST(sum(n.trades) AS bigint) AS trades
        FROM named n GROUP BY GROUPING SETS (n.symbol, n.category, n.asset_class)
    ) g
    ORDER BY g.level, g.trades DESC, g.name
$$;

CREATE FUNCTION analytics.open_volume(platform text, account_id bigint)
RETURNS TABLE (symbol text, positions bigint, buy_units numeric, sell_units numeric, net_units numeric, buy_lots numeric,
    sell_lots numeric, net_lots numeric, unsized bigint)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.symbol, o.positions, o.buy_units, o.sell_units, o.buy_units - o.sell_units,
        -- Where no position tells lots, zero would be a lie.
        CASE WHEN o.in_lots THEN o.buy_lots END, CASE WHEN o.in_lots THEN o.sell_lots END,
        CASE WHEN o.in_lots THEN o.buy_lots - o.sell_lots END, o.positions - o.sized
    FROM (
        SELECT p.symbol, count(*) AS positions, count(p.volume_base) FILTER (WHERE p.side IN (0, 1)) AS sized,
            coalesce(sum(p.volume_base) FILTER (WHERE p.side = 0), 0) AS buy_units,
            coalesce(sum(p.volume_base) FILTER (WHERE p.side = 1), 0) AS sell_units,
            bool_or(p.volume_current IS NOT NULL) AS in_lots,
            coalesce(sum(p.volume_current) FILTER (WHERE p.side = 0), 0) AS buy_lots,
            coalesce(sum(p.volume_current) FILTER (WHERE p.side = 1), 0) AS sell_lots
        FROM mirror.positions p
        WHERE p.platform = $1 AND p.account_id = $2 AND p.status IS DISTINCT FROM 2 AND p.deleted_at IS NULL
        GROUP BY p.symbol
    ) o
    ORDER BY o.symbol
$$;

CREATE FUNCTION analytics.exposure(platform text)
RETURNS TABLE (symbol text, accounts bigint, positions bigint, long_units numeric, short_units numeric, net_units numeric,
    unsized bigint)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET work_mem = '32MB' SET jit = off AS $$
    -- The memory is for 100,000 open positions; more go to disk and take longer. To compile it would take longer than to run it.
    SELECT o.symbol, o.accounts, o.positions, o.long_units, o.short_units, o.long_units - o.short_units, o.positions - o.sized
    FROM (
        SELECT p.symbol, count(DISTINCT p.account_id) AS accounts, count(*) AS positions,
            count(p.volume_base) FILTER (WHERE p.side IN (0, 1)) AS sized,
            coalesce(sum(p.volume_base) FILTER (WHERE p.side = 0), 0) AS long_units,
            coalesce(sum(p.volume_base) FILTER (WHERE p.side = 1), 0) AS short_units
        FROM mirror.positions p
        WHERE p.platform = $1 AND p.status IS DISTINCT FROM 2 AND p.deleted_at IS NULL
        GROUP BY p.symbol
    ) o
    ORDER BY o.symbol
$$;

CREATE FUNCTION analytics.funding(platform text, account_id bigint, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL)
RETURNS TABLE (currency text, deposits numeric, withdrawals numeric, net numeric, credit_in numeric, credit_out numeric,
    inferred_in numeric, inferred_out numeric, inferred_credit_in numeric, inferred_credit_out numeric)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.currency, m.deposits, m.withdrawals, m.deposits - m.withdrawals, m.credit_in, m.credit_out,
        m.inferred_in, m.inferred_out, m.inferred_credit_in, m.inferred_credit_out
    FROM mirror.accounts a CROSS JOIN LATERAL (
        SELECT coalesce(sum(t.amount) FILTER (WHERE t.side = 2 AND c.certain AND t.amount > 0), 0) AS deposits,
            -coalesce(sum(t.amount) FILTER (WHERE t.side = 2 AND c.certain AND t.amount < 0), 0) AS withdrawals,
            coalesce(sum(t.amount) FILTER (WHERE t.side = 3 AND c.certain AND t.amount > 0), 0) AS credit_in,
            -coalesce(sum(t.amount) FILTER (WHERE t.side = 3 AND c.certain AND t.amount < 0), 0) AS credit_out,
            coalesce(sum(t.amount) FILTER (WHERE t.side = 2 AND NOT c.certain AND t.amount > 0), 0) AS inferred_in,
            -coalesce(sum(t.amount) FILTER (WHERE t.side = 2 AND NOT c.certain AND t.amount < 0), 0) AS inferred_out,
            coalesce(sum(t.amount) FILTER (WHERE t.side = 3 AND NOT c.certain AND t.amount > 0), 0) AS inferred_credit_in,
            -coalesce(sum(t.amount) FILTER (WHERE t.side = 3 AND NOT c.certain AND t.amount < 0), 0) AS inferred_credit_out
        FROM mirror.transactions t CROSS JOIN LATERAL (SELECT t.origin IS DISTINCT FROM 'inferred' AS certain) c
        WHERE t.platform = $1 AND t.account_id = $2 AND t.deleted_at IS NULL
            AND t.created_at >= coalesce($3, '-infinity') AND t.created_at < coalesce($4, 'infinity')
    ) m
    WHERE a.platform = $1 AND a.id = $2 AND a.deleted_at IS NULL
$$;

CREATE FUNCTION analytics.balance_curve(platform text, account_id bigint, since date DEFAULT NULL, until date DEFAULT NULL)
RETURNS TABLE (day date, currency text, opening numeric, trading numeric, funding numeric, inferred numeric, closing numeric)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH booked AS (
        SELECT d.created_at, CASE WHEN d.side = 2 THEN 'funding' ELSE 'trading' END AS kind,
            coalesce(d.profit, 0) + coalesce(d.commission, 0) + coalesce(d.swap, 0) + coalesce(d.storage, 0)
                + coalesce(d.fee, 0) AS amount
        FROM mirror.deals d
        WHERE d.platform = $1 AND d.account_id = $2 AND d.side IS DISTINCT FROM 3 AND d.deleted_at IS NULL
            AND d.created_at >= coalesce(CAST($3 AS timestamp) AT TIME ZONE 'UTC', '-infinity')
        UNION ALL
        SELECT t.created_at, CASE WHEN t.origin = 'inferred' THEN 'inferred' ELSE 'funding' END, coalesce(t.amount, 0)
        FROM mirror.transactions t
        WHERE t.platform = $1 AND t.account_id = $2 AND t.side = 2 AND t.deleted_at IS NULL
            AND t.created_at >= coalesce(CAST($3 AS timestamp) AT TIME ZONE 'UTC', '-infinity')
            -- OMTrader tells a balance operation twice, under one id; cTrader counts deals and operations apart.
            AND NOT EXISTS (SELECT FROM mirror.deals d WHERE d.platform = $1 AND d.id = t.id AND d.account_id = $2
                AND d.side = 2 AND d.created_at IS NOT NULL AND d.deleted_at IS NULL)
    ), moved AS (
        SELECT CAST(b.created_at AT TIME ZONE 'UTC' AS date) AS day,
            coalesce(sum(b.amount) FILTER (WHERE b.kind = 'trading'), 0) AS trading,
            coalesce(sum(b.amount) FILTER (WHERE b.kind = 'funding'), 0) AS funding,
            coalesce(sum(b.amount) FILTER (WHERE b.kind = 'inferred'), 0) AS inferred
        FROM booked b GROUP BY 1
    ), span AS (
        SELECT coalesce(nullif($3, '-infinity'), min(m.day), t.today) AS first_day,
            least($4, greatest(t.today, max(m.day)) + 1) - 1 AS last_day
        FROM (SELECT CAST(now() AT TIME ZONE 'UTC' AS date) AS today) t LEFT JOIN moved m ON true GROUP BY t.today
    ), days AS (
        SELECT CAST(g.day AS date) AS day
        FROM span s CROSS JOIN LATERAL generate_series(CAST(s.first_day AS timestamp), s.last_day, '1 day') AS g (day)
    ), told AS (
        SELECT d.day AS shown, coalesce(d.day, m.day) AS day, coalesce(m.trading, 0) AS trading,
            coalesce(m.funding, 0) AS funding, coalesce(m.inferred, 0) AS inferred
        FROM days d FULL JOIN moved m ON m.day = d.day
    ), later AS (
        SELECT t.*, coalesce(sum(t.trading + t.funding + t.inferred)
            OVER (ORDER BY t.day DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS amount
        FROM told t
    )
    SELECT l.shown, a.currency, a.balance - l.amount - l.trading - l.funding - l.inferred, l.trading, l.funding, l.inferred,
        a.balance - l.amount
    FROM mirror.accounts a CROSS JOIN later l
    WHERE a.platform = $1 AND a.id = $2 AND a.deleted_at IS NULL AND l.shown IS NOT NULL
    ORDER BY l.shown
$$;

-- As its owner, because the roles that read the mirror do not read the daemon's own tables.
CREATE FUNCTION analytics.subaccounts(platform text, account_id bigint)
RETURNS TABLE (logins jsonb, subaccounts integer, currency text, balance numeric, equity numeric, as_of timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.logins, CASE WHEN jsonb_typeof(s.logins) = 'array' THEN jsonb_array_length(s.logins) END, a.currency, s.balance,
        s.equity, greatest(s.changed_at, f.as_of)
    FROM mirror.subaccounts s JOIN mirror.accounts a ON a.platform = s.platform AND a.id = s.id AND a.deleted_at IS NULL
    LEFT JOIN counterfoil.freshness f ON f.platform = s.platform AND f.resource = 'subaccounts'
    WHERE s.platform = $1 AND s.id = $2 AND s.deleted_at IS NULL
$$;

COMMENT ON SCHEMA analytics IS 'What client areas and reports show, computed from the mirror';

COMMENT ON FUNCTION analytics.realised_pnl IS
    'Realised profit and loss of an account: what trading did to its balance from since on and before until. One row; none where the account is not known. currency: the account currency; net, gross, commission, swap, fee: account currency; commission_usd, swap_usd: US dollars, contained in net; closing_deals: number. swap holds storage too. null but for net: the platform does not tell it apart, or there was no deal';

COMMENT ON FUNCTION analytics.win_loss IS
    'Closing deals of an account that won, lost, or did neither, from since on and before until, by what each did to the balance. One row; none where the account is not known. closing_deals, won, lost, even: number; ratio: won to lost, four digits, null where nothing was lost; win_rate: per cent of the closing deals, two digits, null where there were none';

COMMENT ON FUNCTION analytics.most_traded IS
    'What an account traded most, from since on and before until, at each level: symbol, category, asset_class. name: null where the platform does not tell it; trades: number of orders placed or, where the platform shows no orders, of positions opened, as counted says; share: per cent of the level, two digits';

COMMENT ON FUNCTION analytics.open_volume IS
    'Volume that an account holds open now, a row for each symbol. buy_units, sell_units, net_units: base units; buy_lots, sell_lots, net_lots: lots, null where the platform tells none; net is buy less sell; positions: number; unsized: how many of them tell no volume or no side and are not in the sums';

COMMENT ON FUNCTION analytics.exposure IS
    'Volume that all accounts of a platform hold open now, a row for each symbol. long_units, short_units, net_units: base units, net is long less short; accounts, positions: number; unsized: how many positions tell no volume or no side and are not in the sums';

COMMENT ON FUNCTION analytics.funding IS
    'Money into and out of an account, apart from trading, from since on and before until. One row; none where the account is not known. All in account currency, which currency names, and positive but for net, which is deposits less withdrawals: deposits, withdrawals, credit_in, credit_out (credit cannot be withdrawn), and inferred_in, inferred_out, inferred_credit_in, inferred_credit_out: movements that only a changed balance tells of, in no other column';

COMMENT ON FUNCTION analytics.balance_curve IS
    'Balance of an account, a row for each UTC day from since on and before until, at the longest to today: computed backward from the balance as it is now. All in account currency, which currency names; closing is opening with trading, funding and inferred added, inferred being what only a changed balance tells of; credit is not in it. since null: from the first movement; until null: to today';

COMMENT ON FUNCTION analytics.subaccounts IS
    'Copy sub-accounts that an account owns, all together; cTrader only. One row; none where the platform told of none. balance, equity: account currency of the owner, which currency names; logins: array of accounts; subaccounts: their number; as_of: when this was surely so';

REVOKE ALL ON SCHEMA analytics FROM PUBLIC;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA analytics FROM PUBLIC;

GRANT USAGE ON SCHEMA analytics TO counterfoil_crm, counterfoil_reader;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics TO counterfoil_crm, counterfoil_reader;
