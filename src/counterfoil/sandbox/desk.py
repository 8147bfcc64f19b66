"""The desk where faults are set: read from a file or a request, kept in force, and picked for each request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from counterfoil.sandbox.faults import KINDS, Armed, Fault, FaultError, Shift, Struck


class FaultDesk:
    """The faults in force. `kinds`: those that the platform obeys, by name."""

    def __init__(self, kinds: Mapping[str, type[Fault]] = KINDS) -> None:
        self._kinds = kinds
        self._armed: list[Armed] = []

    def set(self, spec: object) -> None:
        """Replace all faults by one object, a list of them, or {"faults": list}. Raises FaultError and changes nothing."""
        self._armed = [Armed(_read(item, place, self._kinds)) for place, item in enumerate(_items(spec))]

    def clear(self) -> None:
        """Good weather again."""
        self._armed = []

    def load(self, path: Path) -> None:
        """Replace all faults by those of a YAML file."""
        try:
            self.set(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
        except yaml.YAMLError as error:
            raise FaultError(f"{path}: not YAML: {error}") from error

    def describe(self) -> list[dict[str, Any]]:
        """Each fault with how many requests matched (`seen`) and how many it struck (`fired`)."""
        return [{**msgspec.to_builtins(a.fault), "seen": a.seen, "fired": a.fired} for a in self._armed]

    def fired(self, kind: str) -> int:
        """How often faults of this kind have struck."""
        return sum(a.fired for a in self._armed if isinstance(a.fault, self._kinds[kind]))

    def pick(self, method: str, path: str, target: str) -> Struck:
        """The faults that strike this request."""
        return Struck([armed for armed in self._armed if armed.strikes(method, path, target)])


def _items(spec: object) -> list[object]:
    if isinstance(spec, Mapping) and "kind" not in spec:
        if set(spec) != {"faults"}:
            raise FaultError("expected one fault with its kind, a list of faults, or {faults: [...]}")
        spec = spec["faults"]
    if isinstance(spec, Mapping):
        return [spec]
    if not isinstance(spec, list | tuple):
        raise FaultError("faults must be a list")
    return list(spec)


def _read(item: object, place: int, kinds: Mapping[str, type[Fault]]) -> Fault:
    kind = kinds.get(str(item.get("kind"))) if isinstance(item, Mapping) else None
    if kind is None:
        raise FaultError(f"faults[{place}]: unknown kind; there are {', '.join(sorted(kinds))}")
    try:
        fault: Fault = msgspec.convert(item, kind)
    except msgspec.ValidationError as error:
        raise FaultError(f"faults[{place}]: {error}") from error
    if isinstance(fault, Shift) and fault.action not in {"delete", "insert"}:
        raise FaultError(f"faults[{place}]: action is delete or insert")
    return fault
