"""The least of a client for the simulated cTrader server, without a line of the real one."""

import csv
import hashlib
import io
import json
from decimal import Decimal

import aiohttp

from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox.ctrader_ledger import DAY

BASE = "/v2/webserv"
TOKEN = f"{BASE}/managers/token"
TRADERS = f"{BASE}/traders"
CLOSED = f"{BASE}/closedPositions"
OPEN = f"{BASE}/openPositions"
GOOD = SandboxOptions().password
LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


def md5(text):
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


HASH = md5("secret of the trader")
WISH = {
    "accessRights": "NO_TRADING",
    "accountType": "HEDGED",
    "balance": 0,
    "brokerName": "BESTBROKER",
    "depositCurrency": "EUR",
    "groupName": "default",
    "hashedPassword": HASH,
    "leverageInCents": 10_000,
}


class Asker:
    """It sends and shows what came."""

    def __init__(self, sandbox, session):
        self.sandbox, self.session, self.token = sandbox, session, None

    @property
    def books(self):
        return self.sandbox.books

    async def login(self, login=2309, password=GOOD):
        body = {"login": login, "hashedPassword": md5(password)}
        status, told = await self.ask("POST", TOKEN, body)
        self.token = told["webservToken"] if status == 200 else self.token
        return status, told

    async def text(self, method, path, body=None, headers=None, **query):
        query = {"token": self.token, **query} if self.token else query
        headers = {"Accept": "application/json"} if headers is None else headers
        sent = {"params": query, "headers": headers, **({} if body is None else {"json": body})}
        async with self.session.request(method, self.sandbox.url + path, **sent) as answer:
            return answer.status, await answer.text(), answer.headers

    async def ask(self, method, path, body=None, **query):
        status, text, _ = await self.text(method, path, body, **query)
        return status, json.loads(text, parse_float=Decimal) if text else None

    async def refused(self, method, path, body=None, **query):
        status, told = await self.ask(method, path, body, **query)
        assert set(told) == {"error"}
        assert set(told["error"]) == {"errorCode", "description"}
        return status, told["error"]["errorCode"]

    async def get(self, path, **query):
        status, told = await self.ask("GET", path, **query)
        assert status == 200, told
        return told

    async def sheet(self, path, **query):
        status, text, headers = await self.text("GET", path, **query)
        assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/csv"), text
        return list(csv.DictReader(io.StringIO(text)))

    async def closed(self, start=None, stop=None, **query):
        stop = self.books.now() + 1 if stop is None else stop
        start = stop - 2 * DAY if start is None else start
        return await self.sheet(CLOSED, **{"from": wire.stamp(start), "to": wire.stamp(stop), **query})

    async def listed(self, start=0, stop=4_000_000_000_000, **query):
        return await self.get(f"{TRADERS}/", **{"from": wire.stamp(start), "to": wire.stamp(stop), **query})

    async def read(self, login):
        return await self.get(f"{TRADERS}/{login}")

    async def money(self, login, amount, kind="DEPOSIT", call="changebalance", **more):
        body = {"login": login, "preciseAmount": amount, "type": kind, **more}
        return await self.ask("POST", f"{TRADERS}/{login}/{call}", body)

    def weather(self, *faults):
        self.sandbox.faults.set(list(faults))

    async def admin(self, method, path, body=None):
        status, text, _ = await self.text(method, f"/_sandbox/{path}", body, headers={})
        return status, json.loads(text, parse_float=Decimal)


async def opened(**wishes):
    sandbox = Sandbox(
        SandboxOptions(**{"kind": "ctrader", "clients": 12, "accounts": 40, "deals": 600, "seed": 5, **wishes})
    )
    await sandbox.start()
    return sandbox
