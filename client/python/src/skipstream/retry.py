"""When a failed call is tried again."""

from __future__ import annotations

import dataclasses
import random
import time
from dataclasses import dataclass

import grpc

from skipstream._numbers import seconds
from skipstream.errors import ServerBusy, SkipstreamError, Unavailable, error_from_rpc


@dataclass(frozen=True)
class RetryPolicy:
    """Which failures are tried again, and after how long.

    UNAVAILABLE is tried again with growing pauses, and so is a stream that a proxy ended because
    its server was gone; RESOURCE_EXHAUSTED only when the server says when (RetryInfo); nothing
    else is.
    """

    max_attempts: int = 5
    """Tries in total, without those that a draining server turned away (behind the same address may
    be another that does not); 1 turns retrying off."""
    initial_backoff: float = 0.1
    """Seconds before the first retry after UNAVAILABLE."""
    multiplier: float = 2.0
    """Growth of that pause from retry to retry."""
    max_backoff: float = 5.0
    """Longest such pause, in seconds."""
    jitter: float = 0.2
    """Pauses are spread by this share, so that clients do not come back all at once."""
    max_total_wait: float = 120.0
    """Sum of all pauses of a call, in seconds."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) >= 0:  # NaN too
                raise ValueError(f"{field.name} must be 0 or more, got {getattr(self, field.name)}")

    def delay(self, attempt: int, error: SkipstreamError) -> float | None:
        """Seconds to wait after `attempt` tries failed like this (from 1); None: give up."""
        if self.max_attempts <= 1 or (attempt >= self.max_attempts and not _is_draining(error)):
            return None
        if isinstance(error, Unavailable) or _is_broken_stream(error):
            backoff = self.initial_backoff
            for _ in range(1, attempt):
                if backoff >= self.max_backoff:
                    break
                backoff *= self.multiplier
            backoff = min(backoff, self.max_backoff)
            return backoff * random.uniform(1 - self.jitter, 1 + self.jitter)
        if isinstance(error, ServerBusy) and error.retry_after is not None:
            return error.retry_after * random.uniform(1, 1 + self.jitter)
        return None


def _is_draining(error: SkipstreamError) -> bool:
    return error.reason == "DRAINING"


def _is_broken_stream(error: SkipstreamError) -> bool:
    """What gRPC makes of a stream that ends without a status, as proxies end it; or one that the
    other side cancelled, as a server that goes does with what has just arrived."""
    if error.reason:
        return False
    if error.code == grpc.StatusCode.CANCELLED:  # of a cancel of our own it says "Locally ..."
        return error.message == "CANCELLED" or "RST_STREAM" in error.message
    return error.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN) and any(
        sign in error.message for sign in ("RST_STREAM", "END_STREAM", "Stream removed")
    )


class Attempts:
    """The tries of one call, all within one timeout."""

    def __init__(self, policy: RetryPolicy, timeout: float | None) -> None:
        self._policy = policy
        within = seconds("timeout", timeout)
        self._deadline = None if within is None else time.monotonic() + within
        self._failures = 0
        self._turned_away = 0  # by servers that drain
        self._waited = 0.0

    def remaining(self) -> float | None:
        """Seconds left for the next try; None: as long as it takes."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic())

    def delay_after(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the next try; raises the typed error if there is none."""
        typed = error_from_rpc(error)
        if _is_draining(typed):
            self._turned_away += 1
            delay = self._policy.delay(self._turned_away, typed)
        else:
            self._failures += 1
            delay = self._policy.delay(self._failures, typed)
        remaining = self.remaining()
        if (
            delay is None
            or (remaining is not None and delay >= remaining)
            or self._waited + delay > self._policy.max_total_wait
        ):
            raise typed from error
        self._waited += delay
        return delay
