"""Events that a call to generate reports, as plain immutable values."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from PIL import Image as PilImage

from skipstream._files import write_file
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream.options import FormatName
from skipstream.request import GenerateRequest

_FORMATS: dict[int, FormatName] = {
    pb.IMAGE_FORMAT_PNG: "png",
    pb.IMAGE_FORMAT_WEBP: "webp",
    pb.IMAGE_FORMAT_RAW: "raw",
}


@dataclass(frozen=True)
class EncodedImage:
    """Encoded pixels."""

    format: FormatName
    """Encoding of `data`."""
    width: int
    """Pixels, after scaling."""
    height: int
    """Pixels, after scaling."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    data: bytes = field(repr=False)
    """The file, or the raw values [height, width, channels]."""

    @functools.cached_property
    def image(self) -> PilImage.Image:
        """The decoded image."""
        if self.format == "raw":
            mode = "L" if self.channels == 1 else "RGB"
            return PilImage.frombytes(mode, (self.width, self.height), self.data)
        image = PilImage.open(io.BytesIO(self.data))
        image.load()
        return cast(PilImage.Image, image)


@dataclass(frozen=True)
class GeneratedImage:
    """A finished image."""

    index: int
    """Index of the image in the request."""
    seed: int
    """The seed it was made from."""
    class_index: int | None
    """Its class; None for a model without classes."""
    class_name: str
    """Name of the class; empty if the model has no names."""
    picture: EncodedImage
    """The image as it was sent."""
    resolved_request: GenerateRequest = field(repr=False)
    """The request that makes exactly this image: every default filled in."""
    queue_seconds: float
    """Seconds from acceptance until the image started."""
    run_seconds: float
    """Seconds from its start until its pixels were ready."""

    @property
    def data(self) -> bytes:
        """The encoded file (or raw values), as the server made it."""
        return self.picture.data

    @property
    def image(self) -> PilImage.Image:
        """The decoded image."""
        return self.picture.image

    def save(self, path: str | Path) -> None:
        """Writes the bytes as the server made them: a PNG keeps its resolved request.

        With an input image that request holds the whole original image, also what a mask replaced
        (`no_metadata` leaves it out). A regular file is replaced at once or not at all, through
        links and with its mode kept; devices and pipes are written into. Raises OSError.
        """
        write_file(path, self.data)


@dataclass(frozen=True)
class Accepted:
    """The request's place in the queue; first, and again after a retry."""

    requests_ahead: int
    """Requests accepted earlier and not finished."""
    evaluations_ahead: int
    """Network evaluations those still need."""
    estimated_seconds: float
    """Seconds until the last image."""
    request_id: str = ""
    """The request's id, given or drawn: what the server's log calls it."""


@dataclass(frozen=True)
class Progress:
    """An image came closer."""

    image_index: int
    """Index of the image in the request."""
    evaluations_done: int
    """Evaluations done for this image."""
    evaluations_total: int
    """Evaluations this image needs."""
    request_evaluations_done: int
    """Evaluations done for all images of the request."""
    request_evaluations_total: int
    """Evaluations all images of the request need."""


@dataclass(frozen=True)
class Preview:
    """A look at an unfinished image."""

    image_index: int
    """Index of the image in the request."""
    evaluations_done: int
    """Evaluations done for this image."""
    picture: EncodedImage
    """The denoised image so far."""


@dataclass(frozen=True)
class ImageReady:
    """An image is finished. Images come in the order in which they finish."""

    image: GeneratedImage
    """The image."""


@dataclass(frozen=True)
class ImageFailure:
    """An image that could not be made; the others go on."""

    index: int
    """Index of the image in the request."""
    code: int
    """google.rpc.Code."""
    message: str
    """Description of the error."""


@dataclass(frozen=True)
class Completed:
    """Everything is done; always last."""

    resolved_request: GenerateRequest = field(repr=False)
    """The request with every default filled in: sent again, it gives the same images."""
    server_version: str
    """Version of the server."""
    evaluations: int
    """Network evaluations spent, in rows."""
    queue_seconds: float
    """Seconds from acceptance until the first image started."""
    run_seconds: float
    """Seconds from the start of the first image until the last one's pixels were ready."""
    encode_seconds: float
    """Seconds spent encoding."""
    total_seconds: float
    """Seconds from acceptance until this event."""
    denoiser_calls: int
    """NFE times images: a guided call counts once here and twice in `evaluations`."""


Event = Accepted | Progress | Preview | ImageReady | ImageFailure | Completed


def event_from_proto(message: pb.GenerateEvent) -> Event | None:
    """The typed event; None for a kind that this version of the client does not know."""
    match message.WhichOneof("event"):
        case "accepted":
            a = message.accepted
            return Accepted(
                a.requests_ahead, a.evaluations_ahead, a.estimated_seconds, a.request_id
            )
        case "progress":
            p = message.progress
            return Progress(
                p.image_index,
                p.evaluations_done,
                p.evaluations_total,
                p.request_evaluations_done,
                p.request_evaluations_total,
            )
        case "preview":
            v = message.preview
            return Preview(v.image_index, v.evaluations_done, _picture(v.picture))
        case "image":
            return ImageReady(_image(message.image))
        case "image_failure":
            f = message.image_failure
            return ImageFailure(f.image_index, f.code, f.message)
        case "completed":
            c = message.completed
            return Completed(
                c.resolved_request,
                c.server_version,
                c.evaluations,
                c.queue_seconds,
                c.run_seconds,
                c.encode_seconds,
                c.total_seconds,
                c.denoiser_calls,
            )
        case _:
            return None


def _picture(p: pb.EncodedImage) -> EncodedImage:
    return EncodedImage(_FORMATS[p.format], p.width, p.height, p.channels, p.data)


def _image(i: pb.Image) -> GeneratedImage:
    return GeneratedImage(
        index=i.image_index,
        seed=i.seed,
        class_index=i.class_index if i.HasField("class_index") else None,
        class_name=i.class_name,
        picture=_picture(i.picture),
        resolved_request=i.resolved_request,
        queue_seconds=i.queue_seconds,
        run_seconds=i.run_seconds,
    )
