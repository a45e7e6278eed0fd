"""When a failed call is tried again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import grpc

from skipstream.errors import ServerBusy, SkipstreamError, Unavailable, error_from_rpc


@dataclass(frozen=True)
class RetryPolicy:
    """Which failures are tried again, and after how long.

    UNAVAILABLE is tried again with growing pauses; RESOURCE_EXHAUSTED only when the server says
    when (RetryInfo); nothing else is.
    """

    max_attempts: int = 5
    """Tries in total; 1 turns retrying off."""
    initial_backoff: float = 0.1
    """Seconds before the first retry after UNAVAILABLE."""
    multiplier: float = 2.0
    """Growth of that pause from retry to retry."""
    max_backoff: float = 5.0
    """Longest such pause, in seconds."""
    jitter: float = 0.2
    """Pauses are spread by this share, so that clients do not come back all at once."""

    def delay(self, attempt: int, error: SkipstreamError) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) failed; None: give up."""
        if attempt >= self.max_attempts:
            return None
        if isinstance(error, Unavailable):
            backoff = min(self.initial_backoff * self.multiplier ** (attempt - 1), self.max_backoff)
            return backoff * random.uniform(1 - self.jitter, 1 + self.jitter)
        if isinstance(error, ServerBusy) and error.retry_after is not None:
            return error.retry_after * random.uniform(1, 1 + self.jitter)
        return None


class Attempts:
    """The tries of one call, all within one timeout."""

    def __init__(self, policy: RetryPolicy, timeout: float | None) -> None:
        self._policy = policy
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._attempt = 1

    def remaining(self) -> float | None:
        """Seconds left for the next try; None: as long as it takes."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic())

    def delay_after(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the next try; raises the typed error if there is none."""
        typed = error_from_rpc(error)
        delay = self._policy.delay(self._attempt, typed)
        remaining = self.remaining()
        if delay is None or (remaining is not None and delay >= remaining):
            raise typed from error
        self._attempt += 1
        return delay
