"""What can go wrong, as clients see it: OpenAI's error envelope, its codes and the headers that steer retries.

Status, type and code follow the OpenAI API; `x-should-retry` is what its clients obey before anything else, and is
false wherever a job may have run, because they send no idempotency key.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec

from worker_embed.wire import error_body

INVALID = "invalid_request_error"
SERVER = "server_error"

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One answer that is not the model's."""

    status: int
    kind: str = INVALID
    code: str | None
    message: str
    param: str | None = None
    retry: bool | None = None
    """Whether a client should send the request again; `None` leaves it to the status."""
    retry_after_s: int | None = None
    stream_code: str = ""
    """The code once a stream has begun, where it differs."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    verbatim: bytes = b""
    """A worker's own error object, passed on instead of `message`."""

    def body(self, *, streamed: bool = False) -> bytes:
        """The JSON envelope on one line."""
        code = (self.stream_code or self.code) if streamed else self.code
        return self.verbatim or msgspec.json.encode(error_body(self.message, self.kind, code, self.param))

    def extra_headers(self) -> Headers:
        """Those beyond content type, length and request id."""
        extra = list(self.headers)
        if self.retry_after_s is not None:
            extra.append((b"retry-after", b"%d" % self.retry_after_s))
        if self.retry is not None:
            extra.append((b"x-should-retry", b"true" if self.retry else b"false"))
        return extra


class Refused(Exception):
    """Carries a `Failure` out of the handling of a request."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


CLOSE = ((b"connection", b"close"),)

BODY_TIMEOUT = Failure(
    status=408,
    code="request_timeout",
    message="The request did not arrive in time.",
    retry=False,
    headers=CLOSE,
)
TOO_LARGE = Failure(
    status=413, code="request_too_large", message="The request body is larger than 4 MiB.", headers=CLOSE
)
HEADERS_TOO_LARGE = Failure(
    status=431, code="headers_too_large", message="The request headers are larger than 32 KiB.", headers=CLOSE
)
MALFORMED = Failure(status=400, code=None, message="This is not a valid HTTP request.", headers=CLOSE)
ENCODED = Failure(
    status=415,
    code="unsupported_media_type",
    message="Compressed request bodies are not accepted; send the JSON as it is.",
    headers=CLOSE,
)
FOREIGN_ORIGIN = Failure(
    status=403,
    code="origin_not_allowed",
    message="Web pages of other hosts may not use this API.",
)
INVALID_JSON = Failure(
    status=400, code="invalid_json", message="We could not parse the JSON body of your request. It must be an object."
)
INTERNAL = Failure(
    status=500, kind=SERVER, code="internal_error", message="Something went wrong in the API node.", retry=False
)
WORKER_TIMEOUT = Failure(
    status=504,
    kind=SERVER,
    code="worker_timeout",
    stream_code="timeout",
    message="The model did not finish in time.",
    retry=False,
)
WORKER_LOST = Failure(
    status=502,
    kind=SERVER,
    code="upstream_error",
    stream_code="worker_lost",
    message="The worker that ran this request was lost.",
    retry=False,
)
GAP = Failure(
    status=502,
    kind=SERVER,
    code="upstream_error",
    message="A part of the model's answer was lost.",
    retry=False,
)
CANCELLED = Failure(
    status=503,
    kind=SERVER,
    code="draining",
    stream_code="cancelled",
    message="The API node was stopped before the answer was complete.",
    retry=False,
    retry_after_s=2,
)
NOT_AN_ANSWER = Failure(
    status=502,
    kind=SERVER,
    code="upstream_error",
    message="The worker sent an error that cannot be read.",
    retry=False,
)


def invalid(param: str | None, message: str) -> Failure:
    """A field is missing or has the wrong type."""
    return Failure(status=400, code=None, param=param, message=message)


def unknown_url(method: str, path: str) -> Failure:
    return Failure(status=404, code="unknown_url", message=f"Unknown request URL: {method} {path}.")


def wrong_method(method: str, allowed: str) -> Failure:
    return Failure(
        status=405,
        code="method_not_supported",
        message=f"{method} is not supported here; use {allowed}.",
        headers=((b"allow", allowed.encode()),),
    )


def model_not_found(model: str) -> Failure:
    return Failure(
        status=404,
        code="model_not_found",
        param="model",
        message=f"The model '{model[:100]}' does not exist or you do not have access to it.",
    )


def _later(code: str, message: str) -> Failure:
    """The request surely did not run; clients come back after one to three seconds, not all at once."""
    return Failure(status=503, kind=SERVER, code=code, message=message, retry=True, retry_after_s=random.randint(1, 3))


def no_worker(model: str) -> Failure:
    return _later("no_worker", f"The model '{model}' is stopped.")


def queue_full(model: str) -> Failure:
    return _later("queue_full", f"Too many requests are waiting for the model '{model}'.")


def queue_unavailable() -> Failure:
    return _later("queue_unavailable", "The request could not be queued; the queue is not reachable.")


def storage_full() -> Failure:
    return _later("queue_unavailable", "The request could not be queued; the disk of the queue is full.")


def model_failed(model: str, cause: str) -> Failure:
    """Nobody expects a worker to come by itself."""
    return _later("no_worker", f"The model '{model}' cannot run: {cause}")


def draining() -> Failure:
    return _later("draining", "This API node is shutting down.")


def too_many_connections() -> Failure:
    return _later("too_many_connections", "This API node has no connection left.")


def queue_timeout(model: str) -> Failure:
    """No worker took the task before its deadline."""
    return Failure(
        status=504,
        kind=SERVER,
        code="queue_timeout",
        stream_code="timeout",
        message=f"No worker of the model '{model}' was free in time.",
        retry=True,
        retry_after_s=random.randint(1, 3),
    )


def worn_out(starts: int) -> Failure:
    """The task took its workers down with it and was put aside."""
    return Failure(
        status=502,
        kind=SERVER,
        code="upstream_error",
        stream_code="worker_lost",
        message=f"The request was started {starts} times and no worker finished it.",
        retry=False,
    )


class _Error(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Envelope(msgspec.Struct):
    error: _Error


_envelope = msgspec.json.Decoder(_Envelope)


def upstream(status: int, body: bytes, retry_after_s: float | None = None) -> Failure:
    """A worker's error with its real status; all four keys are there, whatever the engine left out."""
    try:
        error = _envelope.decode(body).error
    except (msgspec.DecodeError, RecursionError):
        return NOT_AN_ANSWER
    if not 400 <= status <= 599:
        status = 502
    code = None if error.code is None else str(error.code)
    kind = error.type or (INVALID if status < 500 else SERVER)
    return Failure(
        status=status,
        kind=kind,
        code=code,
        message=error.message,
        retry=False if status >= 500 or status in (408, 409) else None,
        retry_after_s=None if retry_after_s is None else round(min(max(1.0, retry_after_s), 120.0)),
        verbatim=msgspec.json.encode(error_body(error.message, kind, code, error.param)),
    )


_ORIGINAL = {
    400: ("We could not parse the JSON body of your request.", INVALID),
    408: ("Request timeout", "request_timeout_error"),
    500: ("Internal server error", "internal_server_error"),
}


def as_original(failure: Failure) -> Failure:
    """The same failure as the original's API node words it, on `/api/v1`: a deadline is a 408 there."""
    status = 408 if failure.status == 504 else failure.status
    if failure.verbatim or status not in _ORIGINAL or failure is BODY_TIMEOUT:
        return failure
    message, kind = _ORIGINAL[status]
    return Failure(
        status=status,
        kind=kind,
        code=None,
        message=message,
        retry=failure.retry,
        retry_after_s=failure.retry_after_s,
        headers=failure.headers,
    )
