"""Images from the running service, kept on disk so that a stopped run goes on where it was.

Image i of run seed s has seed s * 1,000,000 + i and class i modulo the number of classes, whatever
the setting: every setting starts from the same noise (common random numbers), so differences
between settings are less noisy than each by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from skipstream import (
    AsyncClient,
    Completed,
    GeneratedImage,
    GenerateRequest,
    GenerationFailed,
    ImageReady,
    ModelInfo,
    RequestOptions,
    RetryPolicy,
)
from skipstream.options import PriorityName
from skipstream_files import write

from skipstream_quality.errors import QualityError
from skipstream_quality.files import write_array
from skipstream_quality.settings import Setting

SEED_STEP = 1_000_000
# Images per file of the cache, and so the most that is lost when a run is stopped.
CHUNK = 32
# A busy server says when to come back; one that restarts is waited for.
_RETRY = RetryPolicy(max_attempts=60)

Pictures = NDArray[np.uint8]  # [N, H, W, 3], RGB
_Result = TypeVar("_Result")

OnImages = Callable[[int], None]


@dataclass(frozen=True)
class Options:
    """Options of the use of the service."""

    cache: Path
    # Images per request and requests at a time: small requests let other traffic in between.
    per_request: int = 16
    in_flight: int = 4
    priority: PriorityName = "low"


@dataclass(frozen=True)
class Run:
    """Images [N, H, W, 3] and the folder that keeps them, and what is derived from them."""

    pictures: Pictures
    folder: Path


class Service:
    """Makes images of one model of one server. Use within one event loop, as a context manager.

    identity: what the weights are known by in the cache; see `weights_identity`.
    """

    def __init__(
        self, client: AsyncClient, info: ModelInfo, options: Options, identity: str | None = None
    ) -> None:
        self.info = info
        self._client = client
        self._options = options
        self.identity = identity or info.sha256
        self._requests = asyncio.Semaphore(options.in_flight)
        self.server_version = ""

    async def pictures(
        self, setting: Setting, seed: int, count: int, on_images: OnImages | None = None
    ) -> Run:
        """The first `count` images of a run seed. `on_images` hears how many more are there.

        Cancelling cancels the calls on the server; finished chunks stay in the cache.
        """
        if not 0 <= seed * SEED_STEP <= 2**32 - SEED_STEP or not 1 <= count <= SEED_STEP:
            raise QualityError(f"seed {seed} with {count} images leaves the range of seeds")
        first, resolved = await self._probe(setting, seed)
        folder = self._options.cache / self._key(resolved, seed)
        write_once(folder / "setting.txt", f"{setting}, seed {seed}\n".encode())
        pictures = np.concatenate(
            await _all(
                self._chunk(folder, setting, seed, start, on_images)
                for start in range(0, count, CHUNK)
            )
        )
        self._compare(first, pictures[0], folder)
        return Run(pictures[:count], folder)

    async def _probe(self, setting: Setting, seed: int) -> tuple[Pictures, GenerateRequest]:
        """The first image, made anew, and the request as the server resolved it.

        That request names every level and coefficient: the cache is keyed by what is computed, not
        by how it was asked for, and the image tells whether the server still computes what it
        did.
        """
        options = self._request(setting, seed, 0, 1)
        picture: Pictures | None = None
        async with self._requests:
            async for event in self._client.stream(**options):
                match event:
                    case ImageReady(image):
                        picture = _rgb(image)
                    case Completed():
                        self.server_version = event.server_version
                        if picture is not None:
                            return picture, event.resolved_request
        raise QualityError(f"the server made no picture of {setting}")

    def _key(self, resolved: GenerateRequest, seed: int) -> str:
        what = GenerateRequest()
        what.CopyFrom(resolved)
        fields = ("model", "model_sha256", "seeds", "count", "classes", "output", "priority")
        for field in fields:
            what.ClearField(field)
        digest = hashlib.sha256(what.SerializeToString(deterministic=True))
        precision = self.info.precision
        digest.update(f"|{self.identity}|{precision}|{seed}|{self.info.num_classes}".encode())
        return digest.hexdigest()[:32]

    async def _chunk(
        self, folder: Path, setting: Setting, seed: int, start: int, on_images: OnImages | None
    ) -> Pictures:
        file = folder / f"{start:06d}.npy"
        if file.exists():
            pictures = np.load(file)
            if pictures.shape != (CHUNK, self.info.height, self.info.width, 3):
                raise QualityError(f"{file} is damaged: delete it")
            if on_images is not None:
                on_images(CHUNK)
            return np.asarray(pictures)
        step = self._options.per_request
        parts = await _all(
            self._images(self._request(setting, seed, i, min(step, start + CHUNK - i)), on_images)
            for i in range(start, start + CHUNK, step)
        )
        pictures = np.concatenate(parts)
        write_array(file, pictures)
        return pictures

    def _request(self, setting: Setting, seed: int, start: int, count: int) -> RequestOptions:
        indexes = range(start, start + count)
        options: RequestOptions = {
            "model": self.info.name,
            "seeds": [seed * SEED_STEP + i for i in indexes],
            "format": "raw",
            "priority": self._options.priority,
            **setting.options(),
        }
        if self.info.num_classes:
            options["classes"] = [i % self.info.num_classes for i in indexes]
        return options

    async def _images(self, options: RequestOptions, on_images: OnImages | None) -> Pictures:
        async with self._requests:
            try:
                images = await self._client.generate(**options)
            except GenerationFailed as error:
                raise QualityError(f"the server could not make every picture: {error}") from error
        if on_images is not None:
            on_images(len(images))
        return np.stack([_rgb(image) for image in images])

    @staticmethod
    def _compare(made: Pictures, kept: Pictures, folder: Path) -> None:
        """The server's own promise: values within 1, at most 1 % of them different."""
        difference = np.abs(made.astype(np.int16) - kept)
        if difference.max(initial=0) > 1 or np.count_nonzero(difference) > 0.01 * difference.size:
            raise QualityError(
                f"the server makes other pictures than those kept in {folder} (largest difference "
                f"{difference.max()}): use another --cache for another build or device"
            )


def classes_of(count: int, num_classes: int) -> NDArray[np.int64]:
    """The class of each image of a run."""
    return np.arange(count, dtype=np.int64) % num_classes


async def connect(
    address: str, model: str, options: Options, model_file: Path | None = None
) -> tuple[AsyncClient, Service]:
    """Asks the server for the model; default: its default model. The caller closes the client."""
    client = AsyncClient(address, retry=_RETRY)
    try:
        info = await client.model(model)
        if options.per_request > info.limits.max_count:
            raise QualityError(f"the server takes {info.limits.max_count} images a request")
        identity = weights_identity(model_file) if model_file is not None else None
        return client, Service(client, info, options, identity)
    except BaseException:
        await client.close()
        raise


def weights_identity(file: Path) -> str:
    """SHA-256 of a model file without its presets: writing them keeps results valid."""
    with file.open("rb") as data:
        try:
            (length,) = struct.unpack("<Q", data.read(8))
            if length > 1 << 26:
                raise ValueError("its header is too long")
            header = json.loads(data.read(length))
            header.get("__metadata__", {}).pop("skip_tuning", None)
        except (struct.error, ValueError, AttributeError) as error:
            raise QualityError(f"{file} is no model file: {error}") from error
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_once(file: Path, data: bytes) -> None:
    """Leaves an existing file unchanged."""
    if not file.exists():
        write(file, data)


async def _all(work: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """The results in order; the first failure cancels the rest and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one) for one in work]
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return [task.result() for task in running]


def _rgb(image: GeneratedImage) -> Pictures:
    picture = image.picture
    values = np.frombuffer(picture.data, np.uint8)
    values = values.reshape(picture.height, picture.width, picture.channels)
    return values if picture.channels == 3 else np.repeat(values, 3, axis=2)
