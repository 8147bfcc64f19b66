"""dlt with a resource written by hand: four threads fetch, pages become Arrow tables, and ADBC copies them.

As fast as we could make it: column by column, ten pages a table. `--way rows` is how one writes it first: each row made ready, each
page a table.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import count

import asking
import dlt
import orjson
import pyarrow as pa
import requests

THREADS = 4
TOGETHER = 10  # pages in one Arrow table

INTEGER, NUMBER, TEXT, TIME = pa.int64(), pa.float64(), pa.string(), pa.timestamp("us", tz="UTC")
DEALS = {
    **dict.fromkeys(asking.DEAL_INTEGERS, INTEGER),
    **dict.fromkeys(asking.DEAL_NUMBERS, NUMBER),
    **dict.fromkeys((*asking.DEAL_TEXTS, *asking.DEAL_OBJECTS), TEXT),
    **dict.fromkeys(asking.TIMES, TIME),
}
ACCOUNTS = {
    **dict.fromkeys(asking.ACCOUNT_INTEGERS, INTEGER),
    **dict.fromkeys(asking.ACCOUNT_NUMBERS, NUMBER),
    **dict.fromkeys((*asking.ACCOUNT_TEXTS, *asking.ACCOUNT_OBJECTS), TEXT),
    **dict.fromkeys(asking.ACCOUNT_FLAGS, pa.bool_()),
}


def column(rows, name, kind):
    values = [row[name] for row in rows]
    if kind is TIME:
        return pa.array(values, TEXT).cast(pa.timestamp("ns", tz="UTC")).cast(TIME, safe=False)
    if kind is NUMBER:
        return pa.array([None if value is None else float(value) for value in values], NUMBER)
    if kind is TEXT:
        texts = (orjson.dumps(value).decode() if isinstance(value, dict | list) else value for value in values)
        return pa.array(list(texts), TEXT)
    return pa.array(values, kind)


def table(rows, columns):
    return pa.table({name: column(rows, name, kind) for name, kind in columns.items()})


def value(given, kind):
    if given is None:
        return None
    if kind is TIME:
        return datetime.fromisoformat(given)
    if kind is NUMBER:
        return float(given)
    return orjson.dumps(given).decode() if isinstance(given, dict | list) else given


def table_of_rows(rows, columns):
    ready = [{name: value(row[name], kind) for name, kind in columns.items()} for row in rows]
    return pa.Table.from_pylist(ready, schema=pa.schema(columns))


def pages(call):
    """Lists of rows, in the order of the pages, four requests under way at once."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {asking.log_in(call.platform)}"
    sorting = {"sort_by": "updated_at", "dir": "DESC"} if call.resource == "deals" else {"sort_by": "id"}

    def fetch(number):
        asked = {"page": number, "limit": asking.PAGE, **sorting}
        answer = session.get(call.platform + asking.PATHS[call.resource], params=asked)
        answer.raise_for_status()
        data = orjson.loads(answer.content)["data"]
        return data["records"] if isinstance(data, dict) else []

    with ThreadPoolExecutor(THREADS) as pool:
        numbers = count(1)
        flights = deque(pool.submit(fetch, next(numbers)) for _ in range(THREADS))
        while rows := flights.popleft().result():
            flights.append(pool.submit(fetch, next(numbers)))
            yield rows
            if len(rows) < asking.PAGE:
                return


def fresh(call, state):
    """Pages from the newest change down to the newest that was seen; accounts tell no time, so all of them."""
    known, newest = state.get("newest", ""), None
    for rows in pages(call):
        if call.resource == "deals":
            newest = newest or rows[0]["updated_at"]
            state["newest"] = newest
        yield rows
        if known and rows[-1].get("updated_at", known) < known:
            return


def resource(call):
    @dlt.resource(
        name=call.resource, primary_key="id", write_disposition={"disposition": "merge", "strategy": "upsert"}
    )
    def records():
        columns = DEALS if call.resource == "deals" else ACCOUNTS
        made, together = (table_of_rows, 1) if call.way == "rows" else (table, TOGETHER)
        kept = []
        for rows in fresh(call, dlt.current.resource_state()):
            kept.append(made(rows, columns))
            if len(kept) == together:
                yield pa.concat_tables(kept)
                kept = []
        if kept:
            yield pa.concat_tables(kept)

    return records


def main():
    call = asking.called()
    pipeline = dlt.pipeline(
        f"peer_{call.resource}",
        pipelines_dir=str(call.state),
        destination=dlt.destinations.postgres(call.database),
        dataset_name="peer",
    )
    pipeline.run(resource(call), loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    main()
