"""Faults of the simulated WebSocket: each strikes the frames that are to be sent, one by one."""

from typing import ClassVar, Final

from counterfoil.sandbox import faults as f


class FrameFault(f.Fault):
    """Strikes frames of the stream on their way out: events, prices, answers to heartbeats."""

    scope: ClassVar[frozenset[str]] = frozenset({f.FRAME})


class Mute(FrameFault, tag="mute"):
    """The stream stays open and says nothing more, not even the answer to a heartbeat."""


class DropStream(FrameFault, tag="drop_stream"):
    """Cuts the connection instead of sending."""


class SessionLogout(FrameFault, tag="session_logout"):
    """Ends the session: says so, and closes the connection."""


class GarbageFrame(FrameFault, tag="garbage_frame"):
    """Before the frame comes another, of this text."""

    text: str = '{"type":"orders_update","data":{"id":'
    binary: bool = False


class LoseEvent(FrameFault, tag="lose_event"):
    """The frame is not sent."""


class RepeatEvents(FrameFault, tag="repeat_events"):
    """The frame comes so many times more."""

    copies: f.Count = 1


class OldNews(FrameFault, tag="old_news"):
    """After the frame comes the first that was ever sent about the same row."""


KINDS: Final = {
    str(kind.__struct_config__.tag): kind
    for kind in (Mute, DropStream, SessionLogout, GarbageFrame, LoseEvent, RepeatEvents, OldNews)
}
"""Every fault of the stream by its name."""
