"""dlt's own `rest_api` source into PostgreSQL: `--way default`, or `--way tuned` with everything that made it faster.

The settings of the tuned way that come from the environment stand in `contenders.py`.
"""

import asking
import dlt
import orjson
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import rest_api_source


def faster(response, *_args, **_kwargs):
    """Let orjson read the page instead of the standard library."""
    response.json = lambda **_: orjson.loads(response.content)
    return response


def doubles(resource):
    """Without a hint a column whose first number is 0 becomes a bigint, with a second column for the rest."""
    names = asking.DEAL_NUMBERS if resource == "deals" else asking.ACCOUNT_NUMBERS
    return {name: {"data_type": "double", "nullable": True} for name in names}


def described(resource, *, tuned):
    sorting = {"sort_by": "updated_at", "dir": "DESC"} if tuned and resource == "deals" else {"sort_by": "id"}
    endpoint = {
        "path": asking.PATHS[resource],
        "params": {"limit": asking.PAGE, **sorting},
        "data_selector": "data.records",
        "paginator": PageNumberPaginator(base_page=1, page_param="page", total_path=None),
    }
    if resource == "deals":
        endpoint["incremental"] = {"cursor_path": "updated_at", "initial_value": asking.BEGINNING}
        if tuned:
            endpoint["incremental"]["row_order"] = "desc"
    whole = {"name": resource, "primary_key": "id", "write_disposition": "merge", "endpoint": endpoint}
    if tuned:
        endpoint["response_actions"] = [faster]
        whole["write_disposition"] = {"disposition": "merge", "strategy": "upsert"}
        whole |= {"columns": doubles(resource), "max_table_nesting": 0, "parallelized": True}
    return whole


def main():
    call = asking.called()
    tuned = call.way == "tuned"
    client = {"base_url": call.platform, "auth": {"type": "bearer", "token": asking.log_in(call.platform)}}
    source = rest_api_source({"client": client, "resources": [described(call.resource, tuned=tuned)]})
    pipeline = dlt.pipeline(
        f"peer_{call.resource}",
        pipelines_dir=str(call.state),
        destination=dlt.destinations.postgres(call.database),
        dataset_name="peer",
    )
    pipeline.run(source, **({"loader_file_format": "csv"} if tuned else {})).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
