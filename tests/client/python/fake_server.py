"""A scripted ImageGeneration server: each call to Generate plays the next script."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image, PngImagePlugin
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream._proto.skipstream.v1 import (
    image_generation_pb2_grpc,
    model_control_pb2,
    model_control_pb2_grpc,
)


class Fail:
    """Ends a script with a status and google.rpc details."""

    def __init__(self, code: grpc.StatusCode, message: str = "", *details: Any) -> None:
        self.status = status_pb2.Status(code=code.value[0], message=message or code.name)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            self.status.details.append(packed)

    def abort(self, context: grpc.ServicerContext) -> None:
        context.abort_with_status(rpc_status.to_status(self.status))


class WaitForCancel:
    """Holds a call until its client cancels it."""


Script = list[pb.GenerateEvent | Fail | WaitForCancel]


class FakeServer(
    image_generation_pb2_grpc.ImageGenerationServicer,
    model_control_pb2_grpc.ModelControlServicer,
    health_pb2_grpc.HealthServicer,
):
    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.requests: list[pb.GenerateRequest] = []
        self.cancelled = threading.Event()
        self.unary_failures: list[Fail] = []
        self.unary_calls: list[Any] = []
        self.serving: dict[str, bool] = {"liveness": True, "readiness": True}
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        image_generation_pb2_grpc.add_ImageGenerationServicer_to_server(self, self._server)
        model_control_pb2_grpc.add_ModelControlServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=None).wait()

    def Generate(
        self, request: pb.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GenerateEvent]:
        self.requests.append(request)
        script = self.scripts.pop(0)
        # Only a cancel ends such a call. Watched from the start: after a cancel, gRPC may never ask
        # for the next event.
        if any(isinstance(step, WaitForCancel) for step in script) and not context.add_callback(
            self.cancelled.set
        ):
            self.cancelled.set()
        for step in script:
            if isinstance(step, Fail):
                step.abort(context)
            elif isinstance(step, WaitForCancel):
                self.cancelled.wait()
            else:
                yield step

    def ListModels(self, request: Any, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        self._unary(request, context)
        return pb.ListModelsResponse(
            models=[
                pb.ModelSummary(
                    name="nouns32",
                    is_default=True,
                    width=32,
                    height=32,
                    num_classes=64,
                    num_skips=7,
                ),
                pb.ModelSummary(name="other", width=8, height=4, num_skips=3),
            ]
        )

    def GetModel(self, request: Any, context: grpc.ServicerContext) -> pb.GetModelResponse:
        self._unary(request, context)
        return pb.GetModelResponse(
            name=request.model or "nouns32",
            is_default=not request.model,
            sha256="ab" * 32,
            width=32,
            height=32,
            channels=3,
            num_classes=2,
            class_names=["cat", "dog"],
            num_skips=7,
            presets=[
                pb.Preset(name="default", nfe=9, skip_tuning=pb.SkipTuning(rho=1.05)),
                pb.Preset(name="default", solver=pb.SOLVER_HEUN, nfe=35),
            ],
            limits=pb.Limits(max_count=64, max_nfe=1024, max_scale=16, sigma_max=1e6, rho_max=2),
            supports_guidance=True,
            sigma_levels=[80.0, 5.0, 0.01],
        )

    def Load(self, request: Any, context: grpc.ServicerContext) -> model_control_pb2.LoadResponse:
        self._unary(request, context)
        return model_control_pb2.LoadResponse(
            name=request.name or "from_file",
            sha256="cd" * 32,
            replaced_sha256="ef" * 32 if request.replace else "",
        )

    def Unload(
        self, request: Any, context: grpc.ServicerContext
    ) -> model_control_pb2.UnloadResponse:
        self._unary(request, context)
        return model_control_pb2.UnloadResponse()

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        self._unary(request, context)
        serving = self.serving[request.service]
        return health_pb2.HealthCheckResponse(
            status=health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )

    def _unary(self, request: Any, context: grpc.ServicerContext) -> None:
        self.unary_calls.append(request)
        if self.unary_failures:
            self.unary_failures.pop(0).abort(context)


def png(color: tuple[int, int, int], request: pb.GenerateRequest | None = None) -> bytes:
    """A 4x2 PNG of one colour, with the resolved request in its text as the server writes it."""
    text = PngImagePlugin.PngInfo()
    if request is not None:
        text.add_text("skipstream.request", json_format.MessageToJson(request))
    out = io.BytesIO()
    Image.new("RGB", (4, 2), color).save(out, "PNG", pnginfo=text)
    return out.getvalue()


def accepted() -> pb.GenerateEvent:
    return pb.GenerateEvent(
        accepted=pb.Accepted(requests_ahead=2, evaluations_ahead=30, estimated_seconds=1.5)
    )


def progress(index: int, done: int, total: int = 9) -> pb.GenerateEvent:
    return pb.GenerateEvent(
        progress=pb.Progress(
            image_index=index,
            evaluations_done=done,
            evaluations_total=total,
            request_evaluations_done=done,
            request_evaluations_total=total,
        )
    )


def picture(color: tuple[int, int, int] = (1, 2, 3)) -> pb.EncodedImage:
    return pb.EncodedImage(
        format=pb.IMAGE_FORMAT_PNG, width=4, height=2, channels=3, data=png(color)
    )


def preview(index: int, done: int) -> pb.GenerateEvent:
    return pb.GenerateEvent(
        preview=pb.Preview(image_index=index, evaluations_done=done, picture=picture())
    )


def image(index: int, seed: int = 0, color: tuple[int, int, int] = (1, 2, 3)) -> pb.GenerateEvent:
    return pb.GenerateEvent(
        image=pb.Image(
            image_index=index,
            seed=seed,
            class_index=5,
            class_name="cat",
            picture=picture(color),
            resolved_request=pb.GenerateRequest(seeds=[seed]),
            queue_seconds=0.25,
            run_seconds=0.5,
        )
    )


def failure(index: int, message: str = "not finite") -> pb.GenerateEvent:
    return pb.GenerateEvent(
        image_failure=pb.ImageFailure(image_index=index, code=13, message=message)
    )


def completed() -> pb.GenerateEvent:
    return pb.GenerateEvent(
        completed=pb.Completed(server_version="0.1.0", evaluations=18, denoiser_calls=9)
    )
