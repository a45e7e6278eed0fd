"""Errors, as exceptions built from the gRPC status and its google.rpc details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from skipstream.events import GeneratedImage, ImageFailure

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class FieldViolation:
    """One thing wrong with a request."""

    field: str
    """Path in the request, e.g. "sampler.nfe" or "seeds[3]"."""
    description: str
    """Says what is wrong and what would be valid."""


def printable(text: str) -> str:
    """Escapes what could steer a terminal; letters of any alphabet stay."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SkipstreamError(Exception):
    """Base class: a call did not succeed."""

    def __init__(self, message: str, *, code: grpc.StatusCode, reason: str = "") -> None:
        super().__init__(printable(message))
        self.message = message
        """The server's text. `str()` of the exception has control characters escaped."""
        self.code = code
        """gRPC status code."""
        self.reason = reason
        """Machine-readable reason, e.g. "DRAINING"; empty if the server gave none."""


class InvalidRequest(SkipstreamError):
    """The request is outside the documented ranges (INVALID_ARGUMENT)."""

    violations: tuple[FieldViolation, ...] = ()


class NotFound(SkipstreamError):
    """No such model (NOT_FOUND)."""


class ServerBusy(SkipstreamError):
    """The server takes no more work at the moment (RESOURCE_EXHAUSTED)."""

    retry_after: float | None = None
    """Seconds until a retry is worth while; None: this request will never fit."""


class Unavailable(SkipstreamError):
    """Not reachable, or shutting down (UNAVAILABLE)."""


class PreconditionFailed(SkipstreamError):
    """The server's state does not fit, e.g. another model file (FAILED_PRECONDITION)."""


class PermissionDenied(SkipstreamError):
    """The server does not allow this call (PERMISSION_DENIED)."""


class Unauthenticated(SkipstreamError):
    """The server wants a token, or knows none like this one (UNAUTHENTICATED)."""


class AlreadyExists(SkipstreamError):
    """A model of that name is loaded (ALREADY_EXISTS)."""


class Cancelled(SkipstreamError):
    """The call was cancelled (CANCELLED)."""


class TimedOut(SkipstreamError):
    """The call took longer than its timeout (DEADLINE_EXCEEDED)."""


class ServerError(SkipstreamError):
    """The server failed (any other code)."""


class GenerationFailed(ServerError):
    """Some images could not be made; the others are in `images`."""

    def __init__(self, images: Sequence[GeneratedImage], failures: Sequence[ImageFailure]) -> None:
        total = len(images) + len(failures)
        first = failures[0]
        super().__init__(
            f"{len(failures)} of {total} images failed, "
            f"the first (image {first.index}) with: {first.message}",
            code=grpc.StatusCode.INTERNAL,
        )
        self.images = list(images)
        """Delivered images, in the order of the request."""
        self.failures = list(failures)
        """Failed images."""


_CLASSES: dict[grpc.StatusCode, type[SkipstreamError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ServerBusy,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionFailed,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
}


def error_from_rpc(error: grpc.RpcError) -> SkipstreamError:
    """The typed exception for a failed call, sync or asyncio."""
    call = cast(grpc.Call, error)
    code = call.code()
    result = _CLASSES.get(code, ServerError)(call.details() or code.name, code=code)
    for detail in _details(call):
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            if isinstance(result, InvalidRequest):
                result.violations = tuple(
                    FieldViolation(v.field, v.description) for v in bad_request.field_violations
                )
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            if isinstance(result, ServerBusy):
                delay = retry_info.retry_delay
                result.retry_after = max(0.0, delay.seconds + delay.nanos * 1e-9)
        elif detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            error_info = error_details_pb2.ErrorInfo()
            detail.Unpack(error_info)
            result.reason = error_info.reason
    return result


def _details(call: grpc.Call) -> Sequence[Any]:
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            status = status_pb2.Status()
            try:
                status.ParseFromString(value)
            except DecodeError:
                return ()  # the status itself is still good
            return list(status.details)
    return ()
