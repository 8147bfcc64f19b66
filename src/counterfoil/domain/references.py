"""Our references as a platform carries them: at most 31 ASCII characters that a person recognises, `cf-…`."""

import re

_OURS = re.compile(r"(?<![\w-])cf-[a-z0-9]{4,28}(?![\w-])")


def recognise(comment: str) -> str | None:
    """The reference of ours in a platform's free text; None when there is none."""
    found = _OURS.search(comment)
    return found.group() if found else None
