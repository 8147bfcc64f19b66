"""One request and its answer, as every simulated platform sees them, and what the HTTP shell asks of a platform."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from counterfoil.sandbox import faults as f
from counterfoil.sandbox.feed import Feed


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as far as a platform looks at it."""

    method: str
    path: str
    query: Mapping[str, str]
    authorization: str = ""
    accept: str = ""
    content_type: str = ""
    body: bytes = b""
    remote: str = "127.0.0.1"


class Reply(msgspec.Struct, frozen=True):
    """One answer. `retry_after`: seconds for the header Retry-After, None for no such header."""

    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after: int | None = None


class Route(msgspec.Struct, frozen=True):
    """What a path means: the target for the faults, the resource, and the id in it."""

    target: str
    resource: str = ""
    key: int = 0


class Flood(msgspec.Struct, frozen=True):
    """A body that can go on for as long as anybody likes: its beginning, a row to repeat, its end."""

    head: bytes
    row: bytes
    tail: bytes


class Platform(Protocol):
    """What the HTTP shell asks. The faults of the transport are the shell's; how an error looks is the platform's."""

    @property
    def flood(self) -> Flood:
        """A body in the platform's form, for the fault `huge`."""
        ...

    @property
    def feed(self) -> Feed | None:
        """Its event stream; None where it has none."""
        ...

    def resolve(self, method: str, path: str) -> Route:
        """What a path means; target `miss` when it means nothing."""
        ...

    def answer(self, call: Call, route: Route, struck: f.Struck) -> Reply:
        """The answer to a call, its effect included."""
        ...

    def expire_tokens(self) -> None:
        """Every token issued so far becomes worthless."""
        ...

    def foretell(self, route: Route, struck: f.Struck) -> None:
        """What faults do to the books before the request is looked at, and even when it never will be."""
        ...

    def settle(self, route: Route, struck: f.Struck) -> None:
        """What faults do to the books after a request that was answered well."""
        ...

    def refusal(self, struck: f.Struck) -> Reply | None:
        """The error that a fault answers before anything has happened; None when none does."""
        ...

    def distort(self, reply: Reply, struck: f.Struck) -> Reply:
        """An answer after its effect, as the faults leave it."""
        ...
