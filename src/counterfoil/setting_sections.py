"""What every part of the settings has in common: it cannot change, it refuses unknown keys, it can be shown."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import cast

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from counterfoil import setting_values as values


def nothing_is_empty(section: object) -> object:
    """`crm:` with every line below it commented out says as little as no `crm:` at all."""
    return {} if section is None else section


class Section(BaseModel):
    """A part of the settings that has keys of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_an_empty_section(cls, section: object) -> object:
        return nothing_is_empty(section)

    def shown(self) -> dict[str, object]:
        """The effective values as the file would write them, secrets masked."""
        return {name: shown(value) for name, value in self if value is not None}


def explained(model: type[BaseModel]) -> dict[str, str]:
    """What the text below each key of a section says, by key; read from the source, which costs too much for every start."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not (issubclass(owner, BaseModel) and owner.__module__.startswith("counterfoil.")):
            continue
        body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
        for key, text in pairwise(body):
            match key, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = inspect.cleandoc(words)
    return found


def shown(value: object) -> object:
    """One effective value as the file would write it, secrets masked."""
    match value:
        case Section():
            return value.shown()
        case Mapping():
            return {name: shown(inner) for name, inner in value.items()}
        case SecretStr():
            return values.MASK
        case timedelta():
            return values.duration_text(value)
        case Path():
            return str(value)
    return value
