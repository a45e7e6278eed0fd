"""Bad requests over the wire: each is refused by name, and the service stays up."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
import skipstream
from google.protobuf import text_format
from harness import PATIENCE, Server, assert_same_image
from skipstream import GenerateRequest

# The request as protobuf text, the field that must be named, what the message must offer.
BAD = [
    # count, seeds, classes
    ("count: 0", "count", "1 and 64"),
    ("count: -1", "count", "1 and 64"),
    ("count: 65", "count", "1 and 64"),
    ("count: 2147483647", "count", "1 and 64"),
    ("count: 3 seeds: [1, 2]", "seeds", "0, 1 or 3"),
    ("seeds: [" + ", ".join(["7"] * 65) + "]", "seeds", "64"),
    ('classes { name: "unicat" }', "classes[0].name", "index between 0 and 63"),
    ('classes { name: "Cat" }', "classes[0].name", "cat"),
    ('classes { name: "" }', "classes[0].name", "class names"),
    ("classes { index: 64 }", "classes[0].index", "0 and 63"),
    ("classes { index: -1 }", "classes[0].index", "0 and 63"),
    ("classes { }", "classes[0]", "index or name"),
    ("count: 3 classes { index: 1 } classes { index: 2 }", "classes", "0, 1 or 3"),
    ("count: 2 classes { index: 1 } classes { index: 99 }", "classes[1].index", "0 and 63"),
    ('classes { name: "' + "x" * 100_000 + '" }', "classes[0].name", "256"),
    # model
    ('model: "../nouns32"', "model", "letters"),
    ('model: "' + "m" * 1000 + '"', "model", "64"),
    ('model_sha256: "abc"', "model_sha256", "64"),
    ('model_sha256: "' + "Z" * 64 + '"', "model_sha256", "hex"),
    # sampler
    ("sampler { solver: 99 }", "sampler.solver", "SOLVER_HEUN"),
    ("sampler { solver: -1 }", "sampler.solver", "SOLVER_EULER"),
    ("sampler { nfe: 0 }", "sampler.nfe", "1 and 1024"),
    ("sampler { nfe: -5 }", "sampler.nfe", "1 and 1024"),
    ("sampler { nfe: 1000000 }", "sampler.nfe", "1 and 1024"),
    ("sampler { nfe: 10 }", "sampler.nfe", "9 or 11"),
    ("sampler { solver: SOLVER_HEUN nfe: 2 }", "sampler.nfe", "1 or 3"),
    ("sampler { solver: SOLVER_HEUN nfe: 1024 }", "sampler.nfe", "1023"),
    ("sampler { sigma_min: 0 }", "sampler.sigma_min", "above 0"),
    ("sampler { sigma_min: -1 }", "sampler.sigma_min", "above 0"),
    ("sampler { sigma_min: nan }", "sampler.sigma_min", "above 0"),
    ("sampler { sigma_min: 90 }", "sampler.sigma_min", "sigma_max"),
    ("sampler { sigma_max: 0.001 }", "sampler.sigma_max", "sigma_min"),
    ("sampler { sigma_max: inf }", "sampler.sigma_max", "1e+06"),
    ("sampler { sigma_max: 1e7 }", "sampler.sigma_max", "1e+06"),
    ("sampler { sigma_max: nan }", "sampler.sigma_max", "1e+06"),
    (
        "sampler { karras { schedule_exponent: 0.5 } }",
        "sampler.karras.schedule_exponent",
        "1 and 100",
    ),
    (
        "sampler { karras { schedule_exponent: nan } }",
        "sampler.karras.schedule_exponent",
        "1 and 100",
    ),
    *(
        (
            f"sampler {{ solver: SOLVER_{solver} explicit_levels {{ "
            "sigmas: [80, 12, 11.999999999999998, 4, 1] } }",
            "sampler.explicit_levels.sigmas",
            "12 and 11.999999999999998 are too close",
        )
        for solver in ("DPMPP_2M", "DPMPP_3M", "DPMPP_2M_SDE", "UNIPC")
    ),
    ("sampler { explicit_levels { } }", "sampler.explicit_levels.sigmas", "between 1 and"),
    (
        "sampler { explicit_levels { sigmas: [1, 2] } }",
        "sampler.explicit_levels.sigmas[1]",
        "below",
    ),
    (
        "sampler { explicit_levels { sigmas: [2, 0] } }",
        "sampler.explicit_levels.sigmas[1]",
        "above 0",
    ),
    (
        "sampler { explicit_levels { sigmas: [inf, 1] } }",
        "sampler.explicit_levels.sigmas[0]",
        "1e+06",
    ),
    (
        "sampler { explicit_levels { sigmas: [" + ", ".join(map(str, range(2000, 0, -1))) + "] } }",
        "sampler.explicit_levels.sigmas",
        "512",
    ),
    ("sampler { nfe: 9 explicit_levels { sigmas: [2, 1] } }", "sampler.nfe", "must be 3"),
    (
        "sampler { sigma_max: 9 explicit_levels { sigmas: [2, 1] } }",
        "sampler.sigma_max",
        "explicit_levels",
    ),
    ("sampler { churn { s_churn: -1 } }", "sampler.churn.s_churn", "0 and 1000"),
    ("sampler { churn { s_churn: inf } }", "sampler.churn.s_churn", "0 and 1000"),
    ("sampler { churn { s_min: -1 } }", "sampler.churn.s_min", "0"),
    ("sampler { churn { s_min: 2 s_max: 1 } }", "sampler.churn.s_max", "s_min"),
    ("sampler { churn { s_noise: 0 } }", "sampler.churn.s_noise", "2"),
    ("sampler { churn { s_noise: 2.5 } }", "sampler.churn.s_noise", "2"),
    ("sampler { solver: SOLVER_DPM2 nfe: 10 }", "sampler.nfe", "9 or 11"),
    (
        "sampler { nfe: 9 final_step: FINAL_STEP_SIGMA_MIN }",
        "sampler.nfe",
        "must be even for SOLVER_HEUN with FINAL_STEP_SIGMA_MIN: use 8 or 10",
    ),
    ("sampler { final_step: 9 }", "sampler.final_step", "FINAL_STEP_ZERO or"),
    (
        "sampler { solver: SOLVER_CONSISTENCY final_step: FINAL_STEP_SIGMA_MIN }",
        "sampler.final_step",
        "FINAL_STEP_ZERO for SOLVER_CONSISTENCY",
    ),
    (
        "sampler { final_step: FINAL_STEP_SIGMA_MIN explicit_levels { sigmas: [2] } }",
        "sampler.explicit_levels.sigmas",
        "between 2 and 513",
    ),
    ("sampler { vp { } sigma_min: 160 }", "sampler.sigma_min", "(the default)"),
    ("sampler { ve { } sigma_max: 0.01 }", "sampler.sigma_max", "0.02 (the default)"),
    ("sampler { solver: SOLVER_EULER nfe: 1020 iddpm { } }", "sampler.nfe", "too high"),
    (
        "sampler { solver: SOLVER_DPMPP_2M churn { s_churn: 1 } }",
        "sampler.churn",
        "only SOLVER_EULER and SOLVER_HEUN",
    ),
    ("sampler { step_noise { eta: 1 } }", "sampler.step_noise", "SOLVER_EULER_ANCESTRAL"),
    (
        "sampler { solver: SOLVER_EULER_ANCESTRAL step_noise { eta: 1.1 } }",
        "sampler.step_noise.eta",
        "0 and 1",
    ),
    (
        "sampler { solver: SOLVER_DPMPP_2M_SDE step_noise { s_noise: 0 } }",
        "sampler.step_noise.s_noise",
        "2",
    ),
    ("sampler { dpmpp_3m { } }", "sampler.dpmpp_3m", "SOLVER_DPMPP_3M"),
    ("sampler { unipc { order: 2 } }", "sampler.unipc", "SOLVER_UNIPC"),
    ("sampler { solver: SOLVER_UNIPC unipc { order: 4 } }", "sampler.unipc.order", "1 and 3"),
    ("sampler { solver: SOLVER_UNIPC unipc { variant: 7 } }", "sampler.unipc.variant", "BH2"),
    (
        "sampler { consistency_sigma_min: 0.002 }",
        "sampler.consistency_sigma_min",
        "SOLVER_CONSISTENCY",
    ),
    (
        "sampler { solver: SOLVER_CONSISTENCY nfe: 2 consistency_sigma_min: 90 }",
        "sampler.consistency_sigma_min",
        "the lowest level",
    ),
    (
        "sampler { nfe: 3 conditioning_sigmas: [1, 2] }",
        "sampler.conditioning_sigmas",
        "0 or 3 values",
    ),
    (
        "sampler { nfe: 1 conditioning_sigmas: [-1] }",
        "sampler.conditioning_sigmas[0]",
        "above 0",
    ),
    # guidance
    ("guidance { scale: -1 }", "guidance.scale", "0 and 100"),
    ("guidance { scale: nan }", "guidance.scale", "0 and 100"),
    ("guidance { sigma_lo: -1 }", "guidance.sigma_lo", "0"),
    ("guidance { sigma_lo: 2 sigma_hi: 1 }", "guidance.sigma_hi", "sigma_lo"),
    ('guidance { guide_model: "../x" }', "guidance.guide_model", "letters"),
    ('guidance { guide_model_sha256: "Q" }', "guidance.guide_model_sha256", "hex"),
    (
        'guidance { guide_model_sha256: "' + "0" * 64 + '" }',
        "guidance.guide_model_sha256",
        "guide_model",
    ),
    # input image
    ("input_image { }", "input_image.picture", "must be set"),
    ('input_image { picture: "hello" }', "input_image.picture", "3072 raw values"),
    (
        'input_image { picture: "\\x89PNG\\r\\n\\x1a\\n1234" }',
        "input_image.picture",
        "valid PNG",
    ),
    ('input_image { picture: "RIFF\\000\\000\\000\\000WEBP" }', "input_image.picture", "WebP"),
    (
        'input_image { picture: "' + "p" * 3072 + '" mask: "m" }',
        "input_image.mask",
        "1024 raw values",
    ),
    (
        'input_image { picture: "' + "p" * 3072 + '" strength: 0 }',
        "input_image.strength",
        "above 0",
    ),
    (
        'input_image { picture: "'
        + "p" * 3072
        + '" strength: 0.5 } sampler { explicit_levels { sigmas: [1] } }',
        "input_image.strength",
        "explicit_levels",
    ),
    # skip-tuning
    ("skip_tuning { rho: -0.1 }", "skip_tuning.rho", "0 and 2"),
    ("skip_tuning { rho: 2.1 }", "skip_tuning.rho", "0 and 2"),
    ("skip_tuning { rho: nan }", "skip_tuning.rho", "0 and 2"),
    ("skip_tuning { rho: inf }", "skip_tuning.rho", "0 and 2"),
    ("skip_tuning { linear { bottom: 3 } }", "skip_tuning.linear.bottom", "0 and 2"),
    ("skip_tuning { linear { top: -3 } }", "skip_tuning.linear.top", "0 and 2"),
    ("skip_tuning { explicit_rho { } }", "skip_tuning.explicit_rho.rho", "9 values"),
    (
        "skip_tuning { explicit_rho { rho: [1, 1, 1] } }",
        "skip_tuning.explicit_rho.rho",
        "9 values",
    ),
    (
        "skip_tuning { explicit_rho { rho: [1, 1, 1, 1, 1, 1, 1, 1, nan] } }",
        "skip_tuning.explicit_rho.rho[8]",
        "0 and 2",
    ),
    ('skip_tuning { preset: "nope" }', "skip_tuning.preset", "preset"),
    ("skip_tuning { rho: 0.9 noise { } }", "skip_tuning.noise", "window, ramp or knots"),
    (
        "skip_tuning { noise { window { sigma_lo: -1 } } }",
        "skip_tuning.noise.window.sigma_lo",
        "0",
    ),
    (
        "skip_tuning { noise { window { sigma_lo: 2 sigma_hi: 1 } } }",
        "skip_tuning.noise.window.sigma_hi",
        "sigma_lo",
    ),
    (
        "skip_tuning { noise { ramp { direction: 17 } } }",
        "skip_tuning.noise.ramp.direction",
        "STRONGEST_AT_HIGH_SIGMA",
    ),
    ("skip_tuning { noise { knots { } } }", "skip_tuning.noise.knots.knots", "1 and 64"),
    (
        "skip_tuning { noise { knots { " + "knots { sigma: 1 } " * 65 + "} } }",
        "skip_tuning.noise.knots.knots",
        "1 and 64",
    ),
    (
        "skip_tuning { noise { knots { knots { sigma: 0 strength: 1 } } } }",
        "skip_tuning.noise.knots.knots[0].sigma",
        "above 0",
    ),
    (
        "skip_tuning { noise { knots { knots { sigma: 2 } knots { sigma: 1 } } } }",
        "skip_tuning.noise.knots.knots[1].sigma",
        "above",
    ),
    (
        "skip_tuning { noise { knots { knots { sigma: 1 strength: 1.5 } } } }",
        "skip_tuning.noise.knots.knots[0].strength",
        "-1 and 1",
    ),
    # output, priority
    ("output { format: 44 }", "output.format", "IMAGE_FORMAT_PNG"),
    ("output { scale: 0 }", "output.scale", "1 and 16"),
    ("output { scale: 17 }", "output.scale", "1 and 16"),
    ("output { preview_every: -1 }", "output.preview_every", "0 and 1024"),
    ("output { preview_every: 5000 }", "output.preview_every", "0 and 1024"),
    ("priority: 9", "priority", "PRIORITY_NORMAL"),
]


def shortened(text: str) -> str:
    return text if len(text) < 60 else f"{text[:50]}...({len(text)})"


@pytest.mark.parametrize(
    ("text", "field", "offers"), BAD, ids=[shortened(text) for text, _, _ in BAD]
)
def test_each_is_refused_naming_the_field_and_what_is_valid(
    client: skipstream.Client, text: str, field: str, offers: str
) -> None:
    request = text_format.Parse(text, GenerateRequest())
    with pytest.raises(skipstream.InvalidRequest) as caught:
        client.generate(request)
    named = {violation.field: violation.description for violation in caught.value.violations}
    assert field in named
    assert offers in named[field]
    assert field in caught.value.message
    assert len(caught.value.message) < 4000


def test_all_mistakes_are_reported_at_once(client: skipstream.Client) -> None:
    with pytest.raises(skipstream.InvalidRequest) as caught:
        client.generate(nfe=10, rho=3.0, scale=99, classes=["cat", "nope"], seeds=[1, 2])
    assert {violation.field for violation in caught.value.violations} == {
        "sampler.nfe",
        "skip_tuning.rho",
        "output.scale",
        "classes[1].name",
    }


def test_an_unknown_model_is_not_found_and_the_known_ones_are_listed(
    client: skipstream.Client,
) -> None:
    with pytest.raises(skipstream.NotFound, match="nouns32"):
        client.generate(model="nope")


@pytest.fixture
def wire(server: Server) -> Iterator[grpc.UnaryStreamMultiCallable]:
    """Generate with bytes in and bytes out."""
    with grpc.insecure_channel(server.target) as channel:
        yield channel.unary_stream("/skipstream.v1.ImageGeneration/Generate")


def refusal(wire: grpc.UnaryStreamMultiCallable, message: bytes) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        list(wire(message, timeout=PATIENCE))
    return caught.value


def test_an_unknown_field_is_refused_instead_of_ignored(
    wire: grpc.UnaryStreamMultiCallable,
) -> None:
    field_1000 = b"\xc2\x3e\x03abc"
    assert GenerateRequest.FromString(field_1000) is not None, "well-formed for a newer API"
    error = refusal(wire, field_1000)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "1000" in error.details()


@pytest.mark.parametrize(
    "message",
    [
        b"\xff" * 100,
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x05ab",
        b"\x0a\x02\xff\xfe",
        b"\x2a\x7f" + b"\x2a" * 50,
        bytes(range(256)) * 10,
    ],
    ids=["ones", "huge length", "cut short", "not UTF-8", "nested", "all bytes"],
)
def test_garbage_is_refused_by_a_grpc_status(
    server: Server, wire: grpc.UnaryStreamMultiCallable, message: bytes
) -> None:
    log = server.errors()
    # gRPC's own answer depends on its version; the handler never sees such a message.
    assert refusal(wire, message).code() in (
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    )
    assert server.errors() == log, "whoever reaches the port could fill the log"


def test_an_oversized_message_is_refused_unread(wire: grpc.UnaryStreamMultiCallable) -> None:
    request = GenerateRequest(model="m" * (6 << 20))
    error = refusal(wire, request.SerializeToString())
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_after_all_that_the_service_serves(
    client: skipstream.Client, server: Server, wire: grpc.UnaryStreamMultiCallable
) -> None:
    (before,) = client.generate(seeds=1, nfe=3)
    for text, _, _ in BAD:
        refusal(wire, text_format.Parse(text, GenerateRequest()).SerializeToString())
    (after,) = client.generate(seeds=1, nfe=3)
    assert_same_image(before, after)
    assert client.health() == skipstream.Health(live=True, ready=True)
    server.wait_idle()
