"""Parts of one call to generate that the sync and the asyncio client share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream.errors import GenerationFailed, SkipstreamError
from skipstream.events import (
    Event,
    GeneratedImage,
    ImageFailure,
    ImageReady,
    Preview,
    Progress,
    event_from_proto,
)
from skipstream.options import RequestOptions
from skipstream.request import GenerateRequest, make_request, with_request_id, with_seeds
from skipstream.retry import RetryPolicy

ProgressCallback = Callable[[Progress], None]

SERVICE_LIVENESS = "liveness"
SERVICE_READINESS = "readiness"


class Delivery:
    """The request of one call and what of it has arrived, over all of its tries.

    The seeds are fixed before the first try, so a retry makes the same images; those that were
    delivered already are dropped when they come again. Every try is the same request under the same
    id: the server joins it to the first try if that still runs, or answers with what it has left.
    """

    def __init__(
        self, request: GenerateRequest | None, options: RequestOptions, retry: RetryPolicy
    ) -> None:
        if request is not None and options:
            raise TypeError("give a ready request or request options, not both")
        self.request = with_seeds(make_request(**options) if request is None else request)
        if retry.max_attempts > 1:
            self.request = with_request_id(self.request)
        self._delivered: set[int] = set()

    def receive(self, message: pb.GenerateEvent) -> Event | None:
        """The event to hand on; None if there is nothing new in it."""
        event = event_from_proto(message)
        match event:
            case ImageReady():
                return event if self._first_time(event.image.index) else None
            case ImageFailure():
                return event if self._first_time(event.index) else None
            case Progress() | Preview() if event.image_index in self._delivered:
                return None
        return event

    def _first_time(self, index: int) -> bool:
        if index in self._delivered:
            return False
        self._delivered.add(index)
        return True


class Collector:
    """Gathers the images of one call in the order of the request and shows progress."""

    def __init__(self, on_progress: ProgressCallback | None, progress: bool) -> None:
        self._on_progress = on_progress
        self._bar = ProgressBar(sys.stderr) if progress and sys.stderr.isatty() else None
        self._images: list[GeneratedImage] = []
        self._failures: list[ImageFailure] = []

    def add(self, event: Event) -> None:
        """Takes one event."""
        match event:
            case Progress():
                if self._on_progress is not None:
                    self._on_progress(event)
                if self._bar is not None:
                    self._bar.update(event)
            case ImageReady(image):
                self._images.append(image)
            case ImageFailure():
                self._failures.append(event)

    def close(self) -> None:
        """Leaves the terminal on a fresh line."""
        if self._bar is not None:
            self._bar.close()

    def images(self, error: SkipstreamError | None = None) -> list[GeneratedImage]:
        """The result; raises GenerationFailed if images failed, else `error` if there is one."""
        images = sorted(self._images, key=lambda image: image.index)
        if self._failures:
            raise GenerationFailed(images, self._failures) from error
        if error is not None:
            raise error
        return images


class ProgressBar:
    """One line of text that is drawn over."""

    WIDTH = 30

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn = False

    def update(self, progress: Progress) -> None:
        """Draws the state of the whole request."""
        done, total = progress.request_evaluations_done, progress.request_evaluations_total
        filled = self.WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        self._out.write(f"\r[{bar}] {done}/{total} evaluations")
        self._out.flush()
        self._drawn = True

    def close(self) -> None:
        """Ends the line."""
        if self._drawn:
            self._out.write("\n")
            self._out.flush()
