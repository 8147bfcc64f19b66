"""What many write themselves: httpx, one page after the other, SQLAlchemy Core's upsert in batches of 1,000 rows."""

import json
from decimal import Decimal

import asking
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
        integers=(sa.BigInteger(), asking.DEAL_INTEGERS),
        numbers=(sa.Numeric(), asking.DEAL_NUMBERS),
        texts=(sa.Text(), asking.DEAL_TEXTS),
        objects=(JSONB(none_as_null=True), asking.DEAL_OBJECTS),
        times=(sa.DateTime(timezone=True), asking.TIMES),
    ),
    "accounts": made(
        "accounts",
        (),
        integers=(sa.BigInteger(), asking.ACCOUNT_INTEGERS),
        numbers=(sa.Numeric(), asking.ACCOUNT_NUMBERS),
        texts=(sa.Text(), asking.ACCOUNT_TEXTS),
        flags=(sa.Boolean(), asking.ACCOUNT_FLAGS),
        objects=(JSONB(none_as_null=True), asking.ACCOUNT_OBJECTS),
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
        asked = {"page": number, "limit": asking.PAGE, **sorting}
        answer = client.get(call.platform + asking.PATHS[call.resource], params=asked).raise_for_status()
        data = json.loads(answer.content, parse_float=Decimal)["data"]
        rows = data["records"] if isinstance(data, dict) else []
        if rows:
            yield rows
        if len(rows) < asking.PAGE:
            return


def main():
    call = asking.called()
    table = TABLES[call.resource]
    mark = call.state / "newest"
    known = mark.read_text() if call.resource == "deals" and mark.exists() else ""
    engine = sa.create_engine(call.database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS peer"))
        metadata.create_all(connection)
    newest = None
    with httpx.Client(headers={"Authorization": f"Bearer {asking.log_in(call.platform)}"}) as client:
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
