"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Generator
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


class Client:
    """A connection to one server. Thread-safe; a context manager.

        with Client("localhost:50051") as client:
            images = client.generate(classes=["cat"], count=4, nfe=9, rho=0.95)

    `target` is HOST:PORT or any gRPC target. Several addresses
    ("ipv4:10.0.0.1:50051,10.0.0.2:50051", or "dns:///NAME" with several records) are replicas that
    take requests in turn. Without `tls` (or gRPC `credentials`) the connection is not encrypted. A
    `token` goes with every call; without encryption only over connections inside this machine,
    whatever a name leads to, unless `allow_plaintext_token` says that the way is safe: else
    ValueError, or Unavailable once it connects. Every call takes a
    `timeout` in seconds for all of its tries together (default, infinity and more than a century:
    none) and raises a subclass of SkipstreamError. Proxies of the environment (http_proxy and the
    like) are not used.
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
            self._channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._generation = image_generation_pb2_grpc.ImageGenerationStub(self._channel)
        self._control = model_control_pb2_grpc.ModelControlStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls in progress are cancelled."""
        self._channel.close()

    def generate(
        self,
        request: GenerateRequest | None = None,
        *,
        on_progress: ProgressCallback | None = None,
        progress: bool = False,
        timeout: float | None = None,
        traceparent: str | None = None,
        **options: Unpack[RequestOptions],
    ) -> list[GeneratedImage]:
        """Makes images and returns them in the order of the request.

        Takes the fields of RequestOptions, or a ready `request` (see `make_request` and
        `request_from_png`). `on_progress` is called after evaluations; `progress` draws a bar on
        stderr if that is a terminal. `traceparent` (W3C Trace Context) goes into the server's log.
        Raises GenerationFailed, which carries the other images, if
        some could not be made. An exception, Ctrl-C included, cancels the call on the server.
        """
        collector = Collector(on_progress, progress)
        try:
            events = self.stream(request, timeout=timeout, traceparent=traceparent, **options)
            try:
                for event in events:
                    collector.add(event)
            finally:
                events.close()
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
    ) -> Generator[Event, None, None]:
        """Makes images and yields events as they happen: `Accepted` first, `Completed` last.

        Arguments as for `generate`. Closing the generator cancels the call on the server. After a
        retry `Accepted` and the progress of unfinished images come again, images do not.
        """
        delivery = Delivery(request, options, self._retry)
        metadata = with_trace(self._metadata, traceparent)
        return self._stream(delivery, Attempts(self._retry, timeout), metadata)

    def _stream(
        self, delivery: Delivery, attempts: Attempts, metadata: Metadata
    ) -> Generator[Event, None, None]:
        while True:
            call = self._generation.Generate(
                delivery.request, timeout=attempts.remaining(), metadata=metadata
            )
            try:
                for message in call:
                    event = delivery.receive(message)
                    if event is not None:
                        yield event
                return
            except grpc.RpcError as error:
                delay = attempts.delay_after(error)
            finally:
                call.cancel()
            time.sleep(delay)

    def models(self, *, timeout: float | None = None) -> list[ModelSummary]:
        """The models of the server, the default one first."""
        response = self._call(self._generation.ListModels, pb.ListModelsRequest(), timeout)
        return [summary_from_proto(model) for model in response.models]

    def model(self, name: str = "", *, timeout: float | None = None) -> ModelInfo:
        """One model in full; default: the server's default model."""
        request = pb.GetModelRequest(model=name)
        return info_from_proto(self._call(self._generation.GetModel, request, timeout))

    def health(self, *, timeout: float | None = None) -> Health:
        """Returns the server's health. Raises Unavailable if nobody answers."""
        return Health(
            live=self._serving(SERVICE_LIVENESS, timeout),
            ready=self._serving(SERVICE_READINESS, timeout),
        )

    def load_model(
        self, file: str, name: str = "", *, replace: bool = False, timeout: float | None = None
    ) -> LoadedModel:
        """Loads a file of the server's model folder; default name: the file's without its ending.

        With `replace` it takes the place of the model of that name, if there is one; requests in
        progress finish on the old weights. Needs a server started with --enable_model_control.
        """
        request = model_control_pb2.LoadRequest(name=name, file=file, replace=replace)
        return loaded_from_proto(self._call(self._control.Load, request, timeout))

    def unload_model(self, name: str, *, timeout: float | None = None) -> None:
        """Stops offering a model; requests in progress finish.

        Needs a server started with --enable_model_control.
        """
        self._call(self._control.Unload, model_control_pb2.UnloadRequest(name=name), timeout)

    def _serving(self, service: str, timeout: float | None) -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        response = self._call(self._health.Check, request, timeout)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def _call(self, method: Any, request: Any, timeout: float | None) -> Any:  # noqa: ANN401
        attempts = Attempts(self._retry, timeout)
        while True:
            try:
                return method(request, timeout=attempts.remaining(), metadata=self._metadata)
            except grpc.RpcError as error:
                delay = attempts.delay_after(error)
            time.sleep(delay)
