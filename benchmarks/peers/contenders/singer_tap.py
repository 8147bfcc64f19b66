"""A tap on the Singer SDK, tuned: msgspec reads and writes, deals come newest first and end at the bookmark."""

from typing import ClassVar

import common
import msgspec
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.contrib.msgspec import MsgSpecWriter, decoder
from singer_sdk.pagination import PageNumberPaginator


class Page(msgspec.Struct):
    data: msgspec.Raw


class Records(msgspec.Struct):
    records: msgspec.Raw


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
        return self.config["platform"] + common.PATHS[self.name]

    def get_new_paginator(self):
        return NumberedPages(1)

    def get_url_params(self, _context, next_page_token):
        return {"page": next_page_token, "limit": common.PAGE, **self.sorting}

    def parse_response(self, response):
        data = msgspec.json.decode(response.content, type=Page).data
        rows = decoder.decode(msgspec.json.decode(data, type=Records).records) if bytes(data[:1]) == b"{" else []
        response.more = len(rows) == common.PAGE and not self.reached(rows[-1])
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
        integers=(th.IntegerType, common.DEAL_INTEGERS),
        numbers=(th.NumberType, common.DEAL_NUMBERS),
        texts=(th.StringType, (*common.DEAL_TEXTS, *common.DEAL_OBJECTS)),
        times=(th.DateTimeType, common.TIMES),
    )

    def reached(self, last):
        bookmark = self.get_starting_replication_key_value(None)
        return bookmark is not None and last["updated_at"] < bookmark


class Accounts(Listing):
    name = "accounts"
    schema = properties(
        integers=(th.IntegerType, common.ACCOUNT_INTEGERS),
        numbers=(th.NumberType, common.ACCOUNT_NUMBERS),
        texts=(th.StringType, common.ACCOUNT_TEXTS),
        flags=(th.BooleanType, common.ACCOUNT_FLAGS),
        objects=(th.ObjectType(), common.ACCOUNT_OBJECTS),
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
