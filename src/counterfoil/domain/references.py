"""Our references as a platform carries them: at most 31 ASCII characters that a person recognises, `cf-…`."""

import hashlib
import re

_OURS = re.compile(r"(?<![\w-])cf-[a-z0-9]{4,28}(?![\w-])")


def idempotency_reference(reference: str) -> str:
    """The reference that travels to the platform with a balance operation; a function of the CRM's reference alone.

    So a database restored from an old copy finds again what it sent in the life that it forgot. The database computes the
    same (counterfoil.idempotency_reference). 112 bits of SHA-256: two of them never meet.
    """
    return "cf-" + hashlib.sha256(reference.encode()).hexdigest()[:28]


def recognise(comment: str) -> str | None:
    """The reference of ours in a platform's free text; None when there is none."""
    found = _OURS.search(comment)
    return found.group() if found else None
