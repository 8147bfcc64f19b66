"""What many write themselves: httpx, one page after the other, SQLAlchemy Core's upsert in batches of 1,000 rows."""

import json
from decimal import Decimal

import common
import httpx
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

metadata = sa.MetaData(schema="peer")


def made(name, indexes, **kinds):
    columns = [sa.Column(each, kind, primary_key=each == "id") for kind, names in kinds.values() for each in names]
    built = sa.Table(name, metadata, *columns)
    for each in indexes:
        sa.Index(f"{name}_{each}", built.c[each])
    return built


TABLES = {
    "deals": made(
        "deals",
        ("account_id", "updated_at"),
        integers=(sa.BigInteger(), common.DEAL_INTEGERS),
        numbers=(sa.Numeric(), common.DEAL_NUMBERS),
        texts=(sa.Text(), common.DEAL_TEXTS),
        objects=(JSONB(none_as_null=True), common.DEAL_OBJECTS),
        times=(sa.DateTime(timezone=True), common.TIMES),
    ),
    "accounts": made(
        "accounts",
        (),
        integers=(sa.BigInteger(), common.ACCOUNT_INTEGERS),
        numbers=(sa.Numeric(), common.ACCOUNT_NUMBERS),
        texts=(sa.Text(), common.ACCOUNT_TEXTS),
        flags=(sa.Boolean(), common.ACCOUNT_FLAGS),
        objects=(JSONB(none_as_null=True), common.ACCOUNT_OBJECTS),
    ),
}


def upsert(table):
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=["id"], set_={c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    )


def pages(call, client):
    sorting = {"sort_by": "updated_at", "dir": "DESC"} if call.resource == "deals" else {"sort_by": "id"}
    number = 0
    while True:
        number += 1
        asked = {"page": number, "limit": common.PAGE, **sorting}
        answer = client.get(call.platform + common.PATHS[call.resource], params=asked).raise_for_status()
        data = json.loads(answer.content, parse_float=Decimal)["data"]
        rows = data["records"] if isinstance(data, dict) else []
        if rows:
            yield rows
        if len(rows) < common.PAGE:
            return


def main():
    call = common.called()
    table = TABLES[call.resource]
    mark = call.state / "newest"
    known = mark.read_text() if call.resource == "deals" and mark.exists() else ""
    engine = sa.create_engine(call.database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS peer"))
        metadata.create_all(connection)
    newest = None
    with httpx.Client(headers={"Authorization": f"Bearer {common.log_in(call.platform)}"}) as client:
        for rows in pages(call, client):
            newest = newest or rows[0].get("updated_at")
            with engine.begin() as connection:
                connection.execute(upsert(table), rows)
            if known and rows[-1]["updated_at"] < known:
                break
    if newest:
        mark.write_text(newest)


if __name__ == "__main__":
    main()
