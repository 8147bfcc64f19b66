"""Who takes part, how each is called, and where it puts the deals."""

from dataclasses import dataclass, field
from pathlib import Path

CONTENDERS = Path(__file__).parent / "contenders"

# The steps in their order: name, the resource that is read, and the state of the platform's deals.
STEPS = (
    ("load", "deals", "before"),
    ("change", "deals", "after"),
    ("nothing", "deals", "after"),
    ("accounts", "accounts", "after"),
    ("poll", "accounts", "after"),
)
WORDS = {
    "load": "initial load",
    "change": "1,000 new and 1,000 changed",
    "change_later": "the same, not right behind a checkpoint",
    "nothing": "nothing new",
    "accounts": "first listing of the accounts",
    "poll": "poll of unchanged accounts",
    "stirred": "poll of accounts, 100 of which changed",
}

# Seconds that the platform waits before each answer, in the load that shows what that costs.
LATENCY = 0.05

SETTINGS = """
database: {{url: "{database}"}}
platforms:
  live:
    kind: omtrader
    base_url: {platform}
    username: crm-api
    password: sandbox
    page_size: 1000
    rate_limit: {{per_second: 1000, burst: 1000, concurrent: 16}}
    pull: {{{pulls}}}
http: {{listen: "127.0.0.1:0"}}
log: {{format: json, level: info}}
"""
RESOURCES = (
    *("clients", "accounts", "deals", "transactions", "groups", "symbols", "positions", "orders", "commissions"),
    *("group_symbols", "sweep"),
)

TUNED = {
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "50000",
    "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "50000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "50000",
    "NORMALIZE__WORKERS": "2",
    "LOAD__WORKERS": "4",
    "EXTRACT__NEXT_ITEM_MODE": "fifo",
}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to keep a mirror. `script`: in `contenders/`, None for Counterfoil itself; `packages`: whose versions are told."""

    name: str
    title: str
    environment: str
    packages: tuple[str, ...]
    script: str | None = None
    way: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    deals: str = "peer.deals"
    only_load: bool = False
    note: str = ""

    def command(self, python: Path, resource: str, place: "Place", *, first: bool = False) -> list[str]:
        """What is started for one step; `first`: into a database with nothing in it."""
        if self.script is None:
            # The name of its symbol stands beside each deal: symbols come first, as they do in a pass over everything.
            wanted = ("symbols", resource) if first else (resource,)
            named = [word for one in wanted for word in ("--resource", one)]
            return [str(python), "-m", "counterfoil", "sync", "-c", str(place.settings), *named]
        asked = ["--platform", place.platform, "--database", place.database, "--state", str(place.folder)]
        return [
            str(python),
            str(CONTENDERS / self.script),
            resource,
            *asked,
            *(["--way", self.way] if self.way else []),
        ]


@dataclass(frozen=True)
class Place:
    """Where one contender works in one round: the URLs of the platform and of its database, and a folder of its own."""

    platform: str
    database: str
    folder: Path

    @property
    def settings(self) -> Path:
        """Counterfoil's."""
        return self.folder / "settings.yaml"

    def configure(self, **wanted: str) -> Path:
        """Write Counterfoil's settings with these pulls at these intervals, and no others."""
        pulls = ", ".join(
            f"{name}: {{every: {wanted[name]}}}" if name in wanted else f"{name}: off" for name in RESOURCES
        )
        self.settings.write_text(SETTINGS.format(database=self.database, platform=self.platform, pulls=pulls))
        return self.settings


LINEUP = (
    Contender(
        name="counterfoil",
        title="Counterfoil",
        environment="project",
        packages=("counterfoil", "psycopg", "httpx", "msgspec"),
        deals="(SELECT * FROM mirror.deals WHERE deleted_at IS NULL)",
        note="`counterfoil sync --resource symbols --resource deals`, page_size 1000, up to 12 requests at once, schema made beforehand",
    ),
    Contender(
        name="dlt-default",
        title="dlt rest_api, default",
        environment="dlt",
        packages=("dlt", "psycopg2-binary"),
        script="dlt_rest.py",
        way="default",
        note="merge by id, incremental on updated_at, pages sorted by id",
    ),
    Contender(
        name="dlt-tuned",
        title="dlt rest_api, tuned",
        environment="dlt",
        packages=("dlt", "psycopg2-binary", "orjson"),
        script="dlt_rest.py",
        way="tuned",
        variables=TUNED,
        note="CSV and COPY, upsert, no compression, 2 normalize workers, orjson, double hints, newest change first",
    ),
    Contender(
        name="dlt-arrow",
        title="dlt, hand-written Arrow/ADBC",
        environment="arrow",
        packages=("dlt", "pyarrow", "adbc-driver-postgresql"),
        script="dlt_arrow.py",
        note="own resource, 4 requests at once, parquet through ADBC, upsert, binary floats, newest change first",
    ),
    Contender(
        name="dlt-arrow-rows",
        title="dlt, hand-written Arrow/ADBC, row by row",
        environment="arrow",
        packages=("dlt", "pyarrow", "adbc-driver-postgresql"),
        script="dlt_arrow.py",
        way="rows",
        note="as one writes it first: the same, but each row made ready for `pyarrow.Table.from_pylist`, each page a table",
    ),
    Contender(
        name="singer",
        title="Singer SDK tap → target-postgres, tuned",
        environment="singer",
        packages=("singer-sdk", "meltanolabs-target-postgres", "msgspec", "psycopg", "sqlalchemy"),
        script="singer.py",
        note="msgspec in the tap, use_copy, upsert, batches of 50,000, no validation, newest change first",
    ),
    Contender(
        name="core",
        title="SQLAlchemy Core batches",
        environment="plain",
        packages=("sqlalchemy", "psycopg", "httpx"),
        script="core_batches.py",
        note="httpx, page after page, ON CONFLICT DO UPDATE of 1,000 rows, exact decimals, newest change first",
    ),
    Contender(
        name="copy",
        title="plain COPY, 2 connections (ceiling)",
        environment="plain",
        packages=("psycopg",),
        script="copy_ceiling.py",
        only_load=True,
        note="CSV made ready beforehand, primary key and two indexes; only the copying is timed",
    ),
)
