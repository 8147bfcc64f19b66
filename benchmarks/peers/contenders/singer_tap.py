"""A tap on the Singer SDK, tuned: msgspec reads and writes, deals come newest first and end at the bookmark."""

from typing import ClassVar

import asking
import msgspec
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.contrib.msgspec import MsgSpecWriter, decoder
from singer_sdk.pagination import PageNumberPaginator


class Records(msgspec.Struct):
    records: msgspec.Raw


class Page(msgspec.Struct):
    data: Records | str  # a word where there are no rows


class NumberedPages(PageNumberPaginator):
    def has_more(self, response):
        return response.more


def properties(**kinds):
    return th.PropertiesList(*(th.Property(name, kind) for kind, names in kinds.values() for name in names)).to_dict()


class Listing(RESTStream):
    primary_keys: ClassVar = ["id"]
    url_base = ""
    sorting: ClassVar = {"sort_by": "id"}

    @property
    def authenticator(self):
        return BearerTokenAuthenticator(token=self.config["token"])

    @property
    def path(self):
        return self.config["platform"] + asking.PATHS[self.name]

    def get_new_paginator(self):
        return NumberedPages(1)

    def get_url_params(self, _context, next_page_token):
        return {"page": next_page_token, "limit": asking.PAGE, **self.sorting}

    def parse_response(self, response):
        data = msgspec.json.decode(response.content, type=Page).data
        rows = [] if isinstance(data, str) else decoder.decode(data.records)
        response.more = len(rows) == asking.PAGE and not self.reached(rows[-1])
        yield from rows

    def reached(self, _last):
        """Whether what follows is known."""
        return False


class Deals(Listing):
    name = "deals"
    replication_key = "updated_at"
    sorting: ClassVar = {"sort_by": "updated_at", "dir": "DESC"}
    is_sorted = False
    schema = properties(
        integers=(th.IntegerType, asking.DEAL_INTEGERS),
        numbers=(th.NumberType, asking.DEAL_NUMBERS),
        texts=(th.StringType, (*asking.DEAL_TEXTS, *asking.DEAL_OBJECTS)),
        times=(th.DateTimeType, asking.TIMES),
    )

    def reached(self, last):
        bookmark = self.get_starting_replication_key_value(None)
        return bookmark is not None and last["updated_at"] < bookmark


class Accounts(Listing):
    name = "accounts"
    schema = properties(
        integers=(th.IntegerType, asking.ACCOUNT_INTEGERS),
        numbers=(th.NumberType, asking.ACCOUNT_NUMBERS),
        texts=(th.StringType, asking.ACCOUNT_TEXTS),
        flags=(th.BooleanType, asking.ACCOUNT_FLAGS),
        objects=(th.ObjectType(), asking.ACCOUNT_OBJECTS),
    )


class PeerTap(Tap):
    name = "tap-peer"
    message_writer_class = MsgSpecWriter
    config_jsonschema = th.PropertiesList(
        *(th.Property(name, th.StringType) for name in ("platform", "token", "resource"))
    ).to_dict()

    def discover_streams(self):
        return [Deals(self) if self.config["resource"] == "deals" else Accounts(self)]


if __name__ == "__main__":
    PeerTap.cli()
