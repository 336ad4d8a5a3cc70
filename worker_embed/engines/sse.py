"""Server-sent events out of bytes that arrive in any portions (WHATWG HTML, section 9.2, as OpenAI's APIs use it)."""

from __future__ import annotations

MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventTooLong(Exception):
    """An event did not end within `MAX_EVENT_BYTES`."""


class EventReader:
    """Collects the payloads of `data:` lines; comments and other fields are dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of all events that `data` completes; raises `EventTooLong`."""
        whole = self._rest + data
        if b"\r" in whole:
            held = whole[-1:] if whole.endswith(b"\r") else b""
            whole = whole[: len(whole) - len(held)].replace(b"\r\n", b"\n") + held
        *blocks, self._rest = whole.split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLong
        return [payload for block in blocks if (payload := _payload(block))]


def _payload(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = (line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(lines)
