"""What an API node counts: per model for the console, in Prometheus' text format for others."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from worker_embed.report import GatewayBeat, ModelCount

WINDOW_S = 300.0
SAMPLES = 4096


class Window:
    """The durations of the last five minutes, the newest 4096 of them."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    def add(self, now_s: float, value_s: float) -> None:
        self._samples.append((now_s, value_s))

    def p95(self, now_s: float) -> float | None:
        """Nearest rank; `None` without a sample."""
        samples = self._samples
        while samples and now_s - samples[0][0] > WINDOW_S:
            samples.popleft()
        if not samples:
            return None
        return sorted(value for _, value in samples)[math.ceil(0.95 * len(samples)) - 1]


class Traffic:
    """One model's requests since the start."""

    __slots__ = ("answered", "cancelled", "e2e", "failed", "requests", "tokens", "topic", "ttft")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.requests = 0
        self.answered = 0
        self.failed = 0
        self.cancelled = 0
        self.tokens = 0
        self.ttft = Window()
        self.e2e = Window()

    def count(self, now_s: float) -> ModelCount:
        return ModelCount(
            self.topic,
            self.requests,
            self.answered,
            self.failed,
            self.tokens,
            self.ttft.p95(now_s),
            self.e2e.p95(now_s),
        )


class Figures:
    """All that one process counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.responses: Counter[int] = Counter()
        """By status; 499 for clients that left."""
        self._traffic: dict[str, Traffic] = {}

    def of(self, topic: str) -> Traffic:
        """A known model's traffic."""
        if (traffic := self._traffic.get(topic)) is None:
            traffic = self._traffic[topic] = Traffic(topic)
        return traffic

    def beat(self, waiting: int, connections: int) -> GatewayBeat:
        now_s = time.monotonic()
        models = [traffic.count(now_s) for traffic in self._traffic.values()]
        return GatewayBeat(self.name, time.time(), waiting, connections, models)

    def prometheus(self, waiting: int, connections: int) -> bytes:
        """Text format 0.0.4."""
        lines = [
            *_metric("uplion_waiting", "gauge", "Requests published and not yet answered.", [("", waiting)]),
            *_metric("uplion_connections", "gauge", "Open client connections.", [("", connections)]),
            *_metric(
                "uplion_responses_total",
                "counter",
                "Responses by status; 499 are clients that left.",
                [(f'{{status="{status}"}}', n) for status, n in sorted(self.responses.items())],
            ),
        ]
        now_s = time.monotonic()
        counts = [traffic.count(now_s) for traffic in self._traffic.values()]
        for name, field, text in (
            ("uplion_requests_total", "requests", "Requests published to the queue."),
            ("uplion_answered_total", "answered", "Requests answered by the model."),
            ("uplion_failed_total", "failed", "Requests that ended with an error."),
            ("uplion_tokens_total", "tokens", "Tokens generated."),
        ):
            lines += _metric(name, "counter", text, [(_topic(c), getattr(c, field)) for c in counts])
        for name, field, text in (
            ("uplion_ttft_p95_seconds", "ttft_p95_s", "95th percentile of the time to a stream's first event, 5 min."),
            ("uplion_e2e_p95_seconds", "e2e_p95_s", "95th percentile of the time to the whole answer, 5 min."),
        ):
            values = [(_topic(c), getattr(c, field)) for c in counts]
            lines += _metric(name, "gauge", text, [(label, v) for label, v in values if v is not None])
        return ("\n".join(lines) + "\n").encode()


def _metric(name: str, kind: str, text: str, values: list[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values:
        yield f"{name}{labels} {value}"


def _topic(count: ModelCount) -> str:
    escaped = count.topic.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{topic="{escaped}"}}'


class Beater:
    """Sends figures to whoever listens at a datagram socket."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, beat: GatewayBeat) -> None:
        """Figures are lossy: while no console listens, nobody misses them."""
        with contextlib.suppress(OSError):
            self._socket.sendto(msgspec.msgpack.encode(beat), self._path)

    def close(self) -> None:
        self._socket.close()
