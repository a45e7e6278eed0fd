"""Client of the Skipstream image generation service.

with skipstream.Client("localhost:50051") as client:
    images = client.generate(classes=["cat"], count=4, nfe=9, rho=0.95)
    images[0].image.show()
"""

from skipstream.aio import AsyncClient
from skipstream.client import Client
from skipstream.connection import Tls
from skipstream.errors import (
    AlreadyExists,
    Cancelled,
    FieldViolation,
    GenerationFailed,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ServerBusy,
    ServerError,
    SkipstreamError,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from skipstream.events import (
    Accepted,
    Completed,
    EncodedImage,
    Event,
    GeneratedImage,
    ImageFailure,
    ImageReady,
    Preview,
    Progress,
)
from skipstream.models import Health, Limits, LoadedModel, ModelInfo, ModelSummary, Preset
from skipstream.options import (
    Churn,
    Dpmpp3m,
    Guidance,
    InputImage,
    LinearDepth,
    NoiseKnots,
    NoiseRamp,
    NoiseWindow,
    Picture,
    RequestOptions,
    StepNoise,
    Unipc,
)
from skipstream.request import GenerateRequest, make_request, request_from_png
from skipstream.retry import RetryPolicy

__version__ = "0.1.0"

__all__ = [
    "Accepted",
    "AlreadyExists",
    "AsyncClient",
    "Cancelled",
    "Churn",
    "Client",
    "Completed",
    "Dpmpp3m",
    "EncodedImage",
    "Event",
    "FieldViolation",
    "GenerateRequest",
    "GeneratedImage",
    "GenerationFailed",
    "Guidance",
    "Health",
    "ImageFailure",
    "ImageReady",
    "InputImage",
    "InvalidRequest",
    "Limits",
    "LinearDepth",
    "LoadedModel",
    "ModelInfo",
    "ModelSummary",
    "NoiseKnots",
    "NoiseRamp",
    "NoiseWindow",
    "NotFound",
    "PermissionDenied",
    "Picture",
    "PreconditionFailed",
    "Preset",
    "Preview",
    "Progress",
    "RequestOptions",
    "RetryPolicy",
    "ServerBusy",
    "ServerError",
    "SkipstreamError",
    "StepNoise",
    "TimedOut",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Unipc",
    "make_request",
    "request_from_png",
]
