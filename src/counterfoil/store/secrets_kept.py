"""Passwords on their way to the platform: sealed at the first pick-up, readable with the key, gone when their step is done."""

import base64
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store.engine import transaction
from counterfoil.store.intents import Held

_SEAL = sa.text("""
    UPDATE counterfoil.passwords SET secret = :sealed, sealed = true
    WHERE intent_id = :intent_id AND name = :name AND NOT sealed
""")


@dataclass(frozen=True, slots=True)
class Safe:
    """Opens and seals with `crm.encryption_key`; without one it can hold nothing."""

    engine: AsyncEngine
    key: str | None

    async def passwords(self, held: Held) -> dict[str, str]:
        """The passwords that an intent needs, by name; those that lie open are sealed now.

        Raises:
            ConfigurationError: there is no key, or they were sealed with another one.
        """
        if not held.passwords:
            return {}
        if self.key is None:
            raise ConfigurationError("passwords are sealed with crm.encryption_key, and none is set")
        fernet = Fernet(self.key)
        readable: dict[str, bytes] = {}
        fresh: list[dict[str, object]] = []
        for row in held.passwords:
            secret = base64.b64decode(row["secret"])
            readable[row["name"]] = _opened(fernet, secret) if row["sealed"] else secret
            if not row["sealed"]:
                fresh.append({"intent_id": held.id, "name": row["name"], "sealed": fernet.encrypt(secret)})
        if fresh:
            async with transaction(self.engine) as connection:
                await connection.execute(_SEAL, fresh)
        return {name: secret.decode() for name, secret in readable.items()}


def _opened(fernet: Fernet, sealed: bytes) -> bytes:
    try:
        return fernet.decrypt(sealed)
    except InvalidToken:
        raise ConfigurationError(
            "a password was sealed with another crm.encryption_key: put the old key back, or cancel the request and ask anew"
        ) from None
