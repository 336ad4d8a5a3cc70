"""A transport that sends what is written in one turn of the loop in one piece."""

from __future__ import annotations

import asyncio
from typing import Any


class Corked(asyncio.Transport):
    """Spares a system call, and a wake-up of the client, for a response whose head and body are written apart."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self.open = transport
        """The transport behind it."""
        self._loop = asyncio.get_running_loop()
        self._parts: list[Any] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        parts = self._parts
        if parts:
            self.open.write(parts[0] if len(parts) == 1 else b"".join(parts))
            parts.clear()

    def close(self) -> None:
        self._flush()
        self.open.close()

    def abort(self) -> None:
        self._parts.clear()
        self.open.abort()

    def is_closing(self) -> bool:
        return self.open.is_closing()

    def get_write_buffer_size(self) -> int:
        return self.open.get_write_buffer_size() + sum(map(len, self._parts))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.open.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self.open.pause_reading()

    def resume_reading(self) -> None:
        self.open.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.open.set_protocol(protocol)
