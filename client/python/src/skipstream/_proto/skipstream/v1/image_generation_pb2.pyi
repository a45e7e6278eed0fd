from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Solver(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOLVER_UNSPECIFIED: _ClassVar[Solver]
    SOLVER_EULER: _ClassVar[Solver]
    SOLVER_HEUN: _ClassVar[Solver]
    SOLVER_EULER_ANCESTRAL: _ClassVar[Solver]
    SOLVER_DPMPP_2M: _ClassVar[Solver]
    SOLVER_DPMPP_3M: _ClassVar[Solver]
    SOLVER_DPMPP_2M_SDE: _ClassVar[Solver]
    SOLVER_UNIPC: _ClassVar[Solver]
    SOLVER_IPNDM: _ClassVar[Solver]
    SOLVER_DPM2: _ClassVar[Solver]
    SOLVER_CONSISTENCY: _ClassVar[Solver]

class FinalStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINAL_STEP_UNSPECIFIED: _ClassVar[FinalStep]
    FINAL_STEP_ZERO: _ClassVar[FinalStep]
    FINAL_STEP_SIGMA_MIN: _ClassVar[FinalStep]

class UnipcVariant(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNIPC_VARIANT_UNSPECIFIED: _ClassVar[UnipcVariant]
    UNIPC_VARIANT_BH1: _ClassVar[UnipcVariant]
    UNIPC_VARIANT_BH2: _ClassVar[UnipcVariant]

class NoiseRampDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOISE_RAMP_DIRECTION_UNSPECIFIED: _ClassVar[NoiseRampDirection]
    NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA: _ClassVar[NoiseRampDirection]
    NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA: _ClassVar[NoiseRampDirection]

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]
    IMAGE_FORMAT_RAW: _ClassVar[ImageFormat]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
SOLVER_UNSPECIFIED: Solver
SOLVER_EULER: Solver
SOLVER_HEUN: Solver
SOLVER_EULER_ANCESTRAL: Solver
SOLVER_DPMPP_2M: Solver
SOLVER_DPMPP_3M: Solver
SOLVER_DPMPP_2M_SDE: Solver
SOLVER_UNIPC: Solver
SOLVER_IPNDM: Solver
SOLVER_DPM2: Solver
SOLVER_CONSISTENCY: Solver
FINAL_STEP_UNSPECIFIED: FinalStep
FINAL_STEP_ZERO: FinalStep
FINAL_STEP_SIGMA_MIN: FinalStep
UNIPC_VARIANT_UNSPECIFIED: UnipcVariant
UNIPC_VARIANT_BH1: UnipcVariant
UNIPC_VARIANT_BH2: UnipcVariant
NOISE_RAMP_DIRECTION_UNSPECIFIED: NoiseRampDirection
NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA: NoiseRampDirection
NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA: NoiseRampDirection
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
IMAGE_FORMAT_RAW: ImageFormat
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority

class GenerateRequest(_message.Message):
    __slots__ = ("model", "count", "seeds", "classes", "sampler", "skip_tuning", "output", "priority", "model_sha256", "guidance", "input_image", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    SKIP_TUNING_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    INPUT_IMAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    count: int
    seeds: _containers.RepeatedScalarFieldContainer[int]
    classes: _containers.RepeatedCompositeFieldContainer[ClassSelector]
    sampler: Sampler
    skip_tuning: SkipTuning
    output: Output
    priority: Priority
    model_sha256: str
    guidance: Guidance
    input_image: InputImage
    request_id: str
    def __init__(self, model: _Optional[str] = ..., count: _Optional[int] = ..., seeds: _Optional[_Iterable[int]] = ..., classes: _Optional[_Iterable[_Union[ClassSelector, _Mapping]]] = ..., sampler: _Optional[_Union[Sampler, _Mapping]] = ..., skip_tuning: _Optional[_Union[SkipTuning, _Mapping]] = ..., output: _Optional[_Union[Output, _Mapping]] = ..., priority: _Optional[_Union[Priority, str]] = ..., model_sha256: _Optional[str] = ..., guidance: _Optional[_Union[Guidance, _Mapping]] = ..., input_image: _Optional[_Union[InputImage, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ClassSelector(_message.Message):
    __slots__ = ("index", "name")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Sampler(_message.Message):
    __slots__ = ("solver", "nfe", "sigma_min", "sigma_max", "karras", "explicit_levels", "exponential", "linear", "vp", "ve", "iddpm", "churn", "final_step", "step_noise", "unipc", "consistency_sigma_min", "conditioning_sigmas", "dpmpp_3m")
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    NFE_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MIN_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MAX_FIELD_NUMBER: _ClassVar[int]
    KARRAS_FIELD_NUMBER: _ClassVar[int]
    EXPLICIT_LEVELS_FIELD_NUMBER: _ClassVar[int]
    EXPONENTIAL_FIELD_NUMBER: _ClassVar[int]
    LINEAR_FIELD_NUMBER: _ClassVar[int]
    VP_FIELD_NUMBER: _ClassVar[int]
    VE_FIELD_NUMBER: _ClassVar[int]
    IDDPM_FIELD_NUMBER: _ClassVar[int]
    CHURN_FIELD_NUMBER: _ClassVar[int]
    FINAL_STEP_FIELD_NUMBER: _ClassVar[int]
    STEP_NOISE_FIELD_NUMBER: _ClassVar[int]
    UNIPC_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_SIGMA_MIN_FIELD_NUMBER: _ClassVar[int]
    CONDITIONING_SIGMAS_FIELD_NUMBER: _ClassVar[int]
    DPMPP_3M_FIELD_NUMBER: _ClassVar[int]
    solver: Solver
    nfe: int
    sigma_min: float
    sigma_max: float
    karras: KarrasSchedule
    explicit_levels: ExplicitSchedule
    exponential: ExponentialSchedule
    linear: LinearSchedule
    vp: VpSchedule
    ve: VeSchedule
    iddpm: IddpmSchedule
    churn: Churn
    final_step: FinalStep
    step_noise: StepNoise
    unipc: Unipc
    consistency_sigma_min: float
    conditioning_sigmas: _containers.RepeatedScalarFieldContainer[float]
    dpmpp_3m: Dpmpp3m
    def __init__(self, solver: _Optional[_Union[Solver, str]] = ..., nfe: _Optional[int] = ..., sigma_min: _Optional[float] = ..., sigma_max: _Optional[float] = ..., karras: _Optional[_Union[KarrasSchedule, _Mapping]] = ..., explicit_levels: _Optional[_Union[ExplicitSchedule, _Mapping]] = ..., exponential: _Optional[_Union[ExponentialSchedule, _Mapping]] = ..., linear: _Optional[_Union[LinearSchedule, _Mapping]] = ..., vp: _Optional[_Union[VpSchedule, _Mapping]] = ..., ve: _Optional[_Union[VeSchedule, _Mapping]] = ..., iddpm: _Optional[_Union[IddpmSchedule, _Mapping]] = ..., churn: _Optional[_Union[Churn, _Mapping]] = ..., final_step: _Optional[_Union[FinalStep, str]] = ..., step_noise: _Optional[_Union[StepNoise, _Mapping]] = ..., unipc: _Optional[_Union[Unipc, _Mapping]] = ..., consistency_sigma_min: _Optional[float] = ..., conditioning_sigmas: _Optional[_Iterable[float]] = ..., dpmpp_3m: _Optional[_Union[Dpmpp3m, _Mapping]] = ...) -> None: ...

class KarrasSchedule(_message.Message):
    __slots__ = ("schedule_exponent",)
    SCHEDULE_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    schedule_exponent: float
    def __init__(self, schedule_exponent: _Optional[float] = ...) -> None: ...

class ExplicitSchedule(_message.Message):
    __slots__ = ("sigmas",)
    SIGMAS_FIELD_NUMBER: _ClassVar[int]
    sigmas: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, sigmas: _Optional[_Iterable[float]] = ...) -> None: ...

class ExponentialSchedule(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LinearSchedule(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VpSchedule(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VeSchedule(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class IddpmSchedule(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Churn(_message.Message):
    __slots__ = ("s_churn", "s_min", "s_max", "s_noise")
    S_CHURN_FIELD_NUMBER: _ClassVar[int]
    S_MIN_FIELD_NUMBER: _ClassVar[int]
    S_MAX_FIELD_NUMBER: _ClassVar[int]
    S_NOISE_FIELD_NUMBER: _ClassVar[int]
    s_churn: float
    s_min: float
    s_max: float
    s_noise: float
    def __init__(self, s_churn: _Optional[float] = ..., s_min: _Optional[float] = ..., s_max: _Optional[float] = ..., s_noise: _Optional[float] = ...) -> None: ...

class StepNoise(_message.Message):
    __slots__ = ("eta", "s_noise")
    ETA_FIELD_NUMBER: _ClassVar[int]
    S_NOISE_FIELD_NUMBER: _ClassVar[int]
    eta: float
    s_noise: float
    def __init__(self, eta: _Optional[float] = ..., s_noise: _Optional[float] = ...) -> None: ...

class Dpmpp3m(_message.Message):
    __slots__ = ("halved_curvature",)
    HALVED_CURVATURE_FIELD_NUMBER: _ClassVar[int]
    halved_curvature: bool
    def __init__(self, halved_curvature: _Optional[bool] = ...) -> None: ...

class Unipc(_message.Message):
    __slots__ = ("order", "variant", "corrector")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    CORRECTOR_FIELD_NUMBER: _ClassVar[int]
    order: int
    variant: UnipcVariant
    corrector: bool
    def __init__(self, order: _Optional[int] = ..., variant: _Optional[_Union[UnipcVariant, str]] = ..., corrector: _Optional[bool] = ...) -> None: ...

class Guidance(_message.Message):
    __slots__ = ("scale", "sigma_lo", "sigma_hi", "guide_model", "guide_model_sha256")
    SCALE_FIELD_NUMBER: _ClassVar[int]
    SIGMA_LO_FIELD_NUMBER: _ClassVar[int]
    SIGMA_HI_FIELD_NUMBER: _ClassVar[int]
    GUIDE_MODEL_FIELD_NUMBER: _ClassVar[int]
    GUIDE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    scale: float
    sigma_lo: float
    sigma_hi: float
    guide_model: str
    guide_model_sha256: str
    def __init__(self, scale: _Optional[float] = ..., sigma_lo: _Optional[float] = ..., sigma_hi: _Optional[float] = ..., guide_model: _Optional[str] = ..., guide_model_sha256: _Optional[str] = ...) -> None: ...

class InputImage(_message.Message):
    __slots__ = ("picture", "strength", "mask")
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    picture: bytes
    strength: float
    mask: bytes
    def __init__(self, picture: _Optional[bytes] = ..., strength: _Optional[float] = ..., mask: _Optional[bytes] = ...) -> None: ...

class SkipTuning(_message.Message):
    __slots__ = ("rho", "linear", "explicit_rho", "preset", "noise")
    RHO_FIELD_NUMBER: _ClassVar[int]
    LINEAR_FIELD_NUMBER: _ClassVar[int]
    EXPLICIT_RHO_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    rho: float
    linear: LinearDepth
    explicit_rho: ExplicitDepth
    preset: str
    noise: NoiseProfile
    def __init__(self, rho: _Optional[float] = ..., linear: _Optional[_Union[LinearDepth, _Mapping]] = ..., explicit_rho: _Optional[_Union[ExplicitDepth, _Mapping]] = ..., preset: _Optional[str] = ..., noise: _Optional[_Union[NoiseProfile, _Mapping]] = ...) -> None: ...

class LinearDepth(_message.Message):
    __slots__ = ("bottom", "top")
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    bottom: float
    top: float
    def __init__(self, bottom: _Optional[float] = ..., top: _Optional[float] = ...) -> None: ...

class ExplicitDepth(_message.Message):
    __slots__ = ("rho",)
    RHO_FIELD_NUMBER: _ClassVar[int]
    rho: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, rho: _Optional[_Iterable[float]] = ...) -> None: ...

class NoiseProfile(_message.Message):
    __slots__ = ("window", "ramp", "knots")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    RAMP_FIELD_NUMBER: _ClassVar[int]
    KNOTS_FIELD_NUMBER: _ClassVar[int]
    window: NoiseWindow
    ramp: NoiseRamp
    knots: NoiseKnots
    def __init__(self, window: _Optional[_Union[NoiseWindow, _Mapping]] = ..., ramp: _Optional[_Union[NoiseRamp, _Mapping]] = ..., knots: _Optional[_Union[NoiseKnots, _Mapping]] = ...) -> None: ...

class NoiseWindow(_message.Message):
    __slots__ = ("sigma_lo", "sigma_hi")
    SIGMA_LO_FIELD_NUMBER: _ClassVar[int]
    SIGMA_HI_FIELD_NUMBER: _ClassVar[int]
    sigma_lo: float
    sigma_hi: float
    def __init__(self, sigma_lo: _Optional[float] = ..., sigma_hi: _Optional[float] = ...) -> None: ...

class NoiseRamp(_message.Message):
    __slots__ = ("direction",)
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    direction: NoiseRampDirection
    def __init__(self, direction: _Optional[_Union[NoiseRampDirection, str]] = ...) -> None: ...

class NoiseKnots(_message.Message):
    __slots__ = ("knots",)
    KNOTS_FIELD_NUMBER: _ClassVar[int]
    knots: _containers.RepeatedCompositeFieldContainer[NoiseKnot]
    def __init__(self, knots: _Optional[_Iterable[_Union[NoiseKnot, _Mapping]]] = ...) -> None: ...

class NoiseKnot(_message.Message):
    __slots__ = ("sigma", "strength")
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    sigma: float
    strength: float
    def __init__(self, sigma: _Optional[float] = ..., strength: _Optional[float] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("format", "scale", "preview_every", "no_metadata")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_EVERY_FIELD_NUMBER: _ClassVar[int]
    NO_METADATA_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    scale: int
    preview_every: int
    no_metadata: bool
    def __init__(self, format: _Optional[_Union[ImageFormat, str]] = ..., scale: _Optional[int] = ..., preview_every: _Optional[int] = ..., no_metadata: _Optional[bool] = ...) -> None: ...

class GenerateEvent(_message.Message):
    __slots__ = ("accepted", "progress", "preview", "image", "image_failure", "completed")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FAILURE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    progress: Progress
    preview: Preview
    image: Image
    image_failure: ImageFailure
    completed: Completed
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., preview: _Optional[_Union[Preview, _Mapping]] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., image_failure: _Optional[_Union[ImageFailure, _Mapping]] = ..., completed: _Optional[_Union[Completed, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("requests_ahead", "evaluations_ahead", "estimated_seconds", "request_id")
    REQUESTS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    requests_ahead: int
    evaluations_ahead: int
    estimated_seconds: float
    request_id: str
    def __init__(self, requests_ahead: _Optional[int] = ..., evaluations_ahead: _Optional[int] = ..., estimated_seconds: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("image_index", "evaluations_done", "evaluations_total", "request_evaluations_done", "request_evaluations_total")
    IMAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_DONE_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_EVALUATIONS_DONE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_EVALUATIONS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    image_index: int
    evaluations_done: int
    evaluations_total: int
    request_evaluations_done: int
    request_evaluations_total: int
    def __init__(self, image_index: _Optional[int] = ..., evaluations_done: _Optional[int] = ..., evaluations_total: _Optional[int] = ..., request_evaluations_done: _Optional[int] = ..., request_evaluations_total: _Optional[int] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("image_index", "evaluations_done", "picture")
    IMAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_DONE_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    image_index: int
    evaluations_done: int
    picture: EncodedImage
    def __init__(self, image_index: _Optional[int] = ..., evaluations_done: _Optional[int] = ..., picture: _Optional[_Union[EncodedImage, _Mapping]] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("image_index", "seed", "class_index", "class_name", "picture", "resolved_request", "queue_seconds", "run_seconds")
    IMAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CLASS_INDEX_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RUN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    image_index: int
    seed: int
    class_index: int
    class_name: str
    picture: EncodedImage
    resolved_request: GenerateRequest
    queue_seconds: float
    run_seconds: float
    def __init__(self, image_index: _Optional[int] = ..., seed: _Optional[int] = ..., class_index: _Optional[int] = ..., class_name: _Optional[str] = ..., picture: _Optional[_Union[EncodedImage, _Mapping]] = ..., resolved_request: _Optional[_Union[GenerateRequest, _Mapping]] = ..., queue_seconds: _Optional[float] = ..., run_seconds: _Optional[float] = ...) -> None: ...

class EncodedImage(_message.Message):
    __slots__ = ("format", "width", "height", "channels", "data")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    width: int
    height: int
    channels: int
    data: bytes
    def __init__(self, format: _Optional[_Union[ImageFormat, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., channels: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class ImageFailure(_message.Message):
    __slots__ = ("image_index", "code", "message")
    IMAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    image_index: int
    code: int
    message: str
    def __init__(self, image_index: _Optional[int] = ..., code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class Completed(_message.Message):
    __slots__ = ("resolved_request", "server_version", "evaluations", "queue_seconds", "run_seconds", "encode_seconds", "total_seconds", "denoiser_calls")
    RESOLVED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RUN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DENOISER_CALLS_FIELD_NUMBER: _ClassVar[int]
    resolved_request: GenerateRequest
    server_version: str
    evaluations: int
    queue_seconds: float
    run_seconds: float
    encode_seconds: float
    total_seconds: float
    denoiser_calls: int
    def __init__(self, resolved_request: _Optional[_Union[GenerateRequest, _Mapping]] = ..., server_version: _Optional[str] = ..., evaluations: _Optional[int] = ..., queue_seconds: _Optional[float] = ..., run_seconds: _Optional[float] = ..., encode_seconds: _Optional[float] = ..., total_seconds: _Optional[float] = ..., denoiser_calls: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelSummary]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelSummary, _Mapping]]] = ...) -> None: ...

class ModelSummary(_message.Message):
    __slots__ = ("name", "is_default", "width", "height", "num_classes", "num_skips")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
    NUM_SKIPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_default: bool
    width: int
    height: int
    num_classes: int
    num_skips: int
    def __init__(self, name: _Optional[str] = ..., is_default: _Optional[bool] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., num_classes: _Optional[int] = ..., num_skips: _Optional[int] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("name", "is_default", "sha256", "architecture", "preconditioning", "parameter_count", "width", "height", "channels", "num_classes", "class_names", "num_skips", "presets", "license", "limits", "supports_guidance", "sigma_levels", "kernels", "precision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PRECONDITIONING_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    NUM_SKIPS_FIELD_NUMBER: _ClassVar[int]
    PRESETS_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SIGMA_LEVELS_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_default: bool
    sha256: str
    architecture: str
    preconditioning: str
    parameter_count: int
    width: int
    height: int
    channels: int
    num_classes: int
    class_names: _containers.RepeatedScalarFieldContainer[str]
    num_skips: int
    presets: _containers.RepeatedCompositeFieldContainer[Preset]
    license: str
    limits: Limits
    supports_guidance: bool
    sigma_levels: _containers.RepeatedScalarFieldContainer[float]
    kernels: str
    precision: str
    def __init__(self, name: _Optional[str] = ..., is_default: _Optional[bool] = ..., sha256: _Optional[str] = ..., architecture: _Optional[str] = ..., preconditioning: _Optional[str] = ..., parameter_count: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., channels: _Optional[int] = ..., num_classes: _Optional[int] = ..., class_names: _Optional[_Iterable[str]] = ..., num_skips: _Optional[int] = ..., presets: _Optional[_Iterable[_Union[Preset, _Mapping]]] = ..., license: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., supports_guidance: _Optional[bool] = ..., sigma_levels: _Optional[_Iterable[float]] = ..., kernels: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class Preset(_message.Message):
    __slots__ = ("name", "solver", "nfe", "skip_tuning")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    NFE_FIELD_NUMBER: _ClassVar[int]
    SKIP_TUNING_FIELD_NUMBER: _ClassVar[int]
    name: str
    solver: Solver
    nfe: int
    skip_tuning: SkipTuning
    def __init__(self, name: _Optional[str] = ..., solver: _Optional[_Union[Solver, str]] = ..., nfe: _Optional[int] = ..., skip_tuning: _Optional[_Union[SkipTuning, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_count", "max_nfe", "max_scale", "sigma_min", "sigma_max", "rho_min", "rho_max")
    MAX_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_NFE_FIELD_NUMBER: _ClassVar[int]
    MAX_SCALE_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MIN_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MAX_FIELD_NUMBER: _ClassVar[int]
    RHO_MIN_FIELD_NUMBER: _ClassVar[int]
    RHO_MAX_FIELD_NUMBER: _ClassVar[int]
    max_count: int
    max_nfe: int
    max_scale: int
    sigma_min: float
    sigma_max: float
    rho_min: float
    rho_max: float
    def __init__(self, max_count: _Optional[int] = ..., max_nfe: _Optional[int] = ..., max_scale: _Optional[int] = ..., sigma_min: _Optional[float] = ..., sigma_max: _Optional[float] = ..., rho_min: _Optional[float] = ..., rho_max: _Optional[float] = ...) -> None: ...
