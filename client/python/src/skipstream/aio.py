"""The asyncio client: `Client` with await."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from skipstream._generation import (
    SERVICE_LIVENESS,
    SERVICE_READINESS,
    Collector,
    Delivery,
    ProgressCallback,
)
from skipstream._proto.skipstream.v1 import (
    image_generation_pb2 as pb,
)
from skipstream._proto.skipstream.v1 import (
    image_generation_pb2_grpc,
    model_control_pb2,
    model_control_pb2_grpc,
)
from skipstream.connection import (
    CHANNEL_OPTIONS,
    Metadata,
    Tls,
    channel_credentials,
    loopback_credentials,
    token_metadata,
    with_trace,
)
from skipstream.errors import SkipstreamError
from skipstream.events import Event, GeneratedImage
from skipstream.models import (
    Health,
    LoadedModel,
    ModelInfo,
    ModelSummary,
    info_from_proto,
    loaded_from_proto,
    summary_from_proto,
)
from skipstream.options import RequestOptions
from skipstream.request import GenerateRequest
from skipstream.retry import Attempts, RetryPolicy


class AsyncClient:
    """A connection to one server, for one event loop. Construct it where that loop runs.

        async with AsyncClient("localhost:50051") as client:
            images = await client.generate(classes=["cat"], count=4, nfe=9, rho=0.95)

    Everything as in `Client`. Cancelling the task that waits cancels the call on the server.
    """

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        tls: Tls | bool = False,
        token: str | None = None,
        allow_plaintext_token: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._retry = retry or RetryPolicy()
        credentials = channel_credentials(credentials, tls)
        self._metadata = token_metadata(
            target,
            token,
            encrypted=credentials is not None,
            allow_plaintext_token=allow_plaintext_token,
        )
        if credentials is None:
            credentials = loopback_credentials(
                target, token, allow_plaintext_token=allow_plaintext_token
            )
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._generation = image_generation_pb2_grpc.ImageGenerationStub(self._channel)
        self._control = model_control_pb2_grpc.ModelControlStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls in progress are cancelled."""
        await self._channel.close()

    async def generate(
        self,
        request: GenerateRequest | None = None,
        *,
        on_progress: ProgressCallback | None = None,
        progress: bool = False,
        timeout: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[RequestOptions],
    ) -> list[GeneratedImage]:
        """Makes images and returns them in the order of the request; see `Client.generate`."""
        collector = Collector(on_progress, progress)
        try:
            events = self.stream(request, timeout=timeout, traceparent=traceparent, **options)
            async with contextlib.aclosing(events):
                async for event in events:
                    collector.add(event)
        except SkipstreamError as error:
            return collector.images(error)
        finally:
            collector.close()
        return collector.images()

    def stream(
        self,
        request: GenerateRequest | None = None,
        *,
        timeout: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[RequestOptions],
    ) -> AsyncGenerator[Event, None]:
        """Makes images and yields events as they happen, for `async for`; see `Client.stream`.

        To leave early, close it (`contextlib.aclosing`): that cancels the call on the server.
        """
        delivery = Delivery(request, options, self._retry)
        metadata = with_trace(self._metadata, traceparent)
        return self._stream(delivery, Attempts(self._retry, timeout), metadata)

    async def _stream(
        self, delivery: Delivery, attempts: Attempts, metadata: Metadata
    ) -> AsyncGenerator[Event, None]:
        while True:
            call = self._generation.Generate(
                delivery.request, timeout=attempts.remaining(), metadata=metadata
            )
            try:
                async for message in call:
                    event = delivery.receive(message)
                    if event is not None:
                        yield event
                return
            except grpc.RpcError as error:
                delay = attempts.delay_after(error)
            finally:
                call.cancel()
            await asyncio.sleep(delay)

    async def models(self, *, timeout: float | None = None) -> list[ModelSummary]:
        """The models of the server, the default one first."""
        response = await self._call(self._generation.ListModels, pb.ListModelsRequest(), timeout)
        return [summary_from_proto(model) for model in response.models]

    async def model(
        self,
        name: str = "",
        *,
        timeout: float | None = None,
    ) -> ModelInfo:
        """One model in full; default: the server's default model."""
        request = pb.GetModelRequest(model=name)
        return info_from_proto(await self._call(self._generation.GetModel, request, timeout))

    async def health(self, *, timeout: float | None = None) -> Health:
        """Returns the server's health. Raises Unavailable if nobody answers."""
        return Health(
            live=await self._serving(SERVICE_LIVENESS, timeout),
            ready=await self._serving(SERVICE_READINESS, timeout),
        )

    async def load_model(
        self,
        file: str,
        name: str = "",
        *,
        replace: bool = False,
        timeout: float | None = None,
    ) -> LoadedModel:
        """Loads a file of the server's model folder; see `Client.load_model`."""
        request = model_control_pb2.LoadRequest(name=name, file=file, replace=replace)
        return loaded_from_proto(await self._call(self._control.Load, request, timeout))

    async def unload_model(
        self,
        name: str,
        *,
        timeout: float | None = None,
    ) -> None:
        """Stops offering a model; see `Client.unload_model`."""
        await self._call(self._control.Unload, model_control_pb2.UnloadRequest(name=name), timeout)

    async def _serving(self, service: str, within: float | None) -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        response = await self._call(self._health.Check, request, within)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def _call(self, method: Any, request: Any, within: float | None) -> Any:  # noqa: ANN401
        attempts = Attempts(self._retry, within)
        while True:
            try:
                return await method(request, timeout=attempts.remaining(), metadata=self._metadata)
            except grpc.RpcError as error:
                delay = attempts.delay_after(error)
            await asyncio.sleep(delay)
