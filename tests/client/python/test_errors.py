import grpc
import pytest
import skipstream
from fake_server import Fail, FakeServer
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2 as details

NO_RETRY = skipstream.RetryPolicy(max_attempts=1)


def generate_error(server: FakeServer, fail: Fail) -> skipstream.SkipstreamError:
    server.scripts.append([fail])
    with (
        skipstream.Client(server.target, retry=NO_RETRY) as client,
        pytest.raises(skipstream.SkipstreamError) as caught,
    ):
        client.generate()
    return caught.value


def test_invalid_request_names_the_fields(server: FakeServer) -> None:
    bad_request = details.BadRequest(
        field_violations=[
            details.BadRequest.FieldViolation(field="sampler.nfe", description="8 or 10 is odd"),
            details.BadRequest.FieldViolation(field="seeds[3]", description="too large"),
        ]
    )
    error = generate_error(
        server, Fail(grpc.StatusCode.INVALID_ARGUMENT, "two things", bad_request)
    )
    assert isinstance(error, skipstream.InvalidRequest)
    assert error.violations == (
        skipstream.FieldViolation("sampler.nfe", "8 or 10 is odd"),
        skipstream.FieldViolation("seeds[3]", "too large"),
    )
    assert str(error) == "two things"


def test_server_busy_says_when_to_come_back(server: FakeServer) -> None:
    retry = details.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000))
    error = generate_error(server, Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry))
    assert isinstance(error, skipstream.ServerBusy)
    assert error.retry_after == 2.5


def test_a_request_that_never_fits_has_no_retry_time(server: FakeServer) -> None:
    info = details.ErrorInfo(reason="REQUEST_TOO_LARGE", domain="skipstream")
    error = generate_error(server, Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", info))
    assert isinstance(error, skipstream.ServerBusy)
    assert error.retry_after is None
    assert error.reason == "REQUEST_TOO_LARGE"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, skipstream.NotFound),
        (grpc.StatusCode.UNAVAILABLE, skipstream.Unavailable),
        (grpc.StatusCode.FAILED_PRECONDITION, skipstream.PreconditionFailed),
        (grpc.StatusCode.PERMISSION_DENIED, skipstream.PermissionDenied),
        (grpc.StatusCode.ALREADY_EXISTS, skipstream.AlreadyExists),
        (grpc.StatusCode.CANCELLED, skipstream.Cancelled),
        (grpc.StatusCode.DEADLINE_EXCEEDED, skipstream.TimedOut),
        (grpc.StatusCode.INTERNAL, skipstream.ServerError),
        (grpc.StatusCode.UNIMPLEMENTED, skipstream.ServerError),
    ],
)
def test_each_code_has_its_exception(
    server: FakeServer, code: grpc.StatusCode, kind: type[skipstream.SkipstreamError]
) -> None:
    error = generate_error(server, Fail(code, "why"))
    assert type(error) is kind
    assert error.code == code
    assert error.message == "why"


def test_nobody_listening_is_unavailable() -> None:
    with (
        skipstream.Client("localhost:1", retry=NO_RETRY) as client,
        pytest.raises(skipstream.Unavailable),
    ):
        client.models(timeout=10)


def test_unary_calls_raise_the_same_exceptions(server: FakeServer) -> None:
    server.unary_failures.append(Fail(grpc.StatusCode.NOT_FOUND, "there are: nouns32"))
    with (
        skipstream.Client(server.target) as client,
        pytest.raises(skipstream.NotFound, match="nouns32"),
    ):
        client.model("nope")


def test_what_a_server_says_cannot_steer_a_terminal(server: FakeServer) -> None:
    message = "caf\u00e9 \x1b]0;title\x07\x1b[2J\r\nforged\u202e"
    server.unary_failures = [Fail(grpc.StatusCode.NOT_FOUND, message)]
    with skipstream.Client(server.target) as client, pytest.raises(skipstream.NotFound) as raised:
        client.model("x")
    assert str(raised.value) == "caf\u00e9 \\x1b]0;title\\x07\\x1b[2J\\r\\nforged\\u202e"
    assert raised.value.message == message
    failures = [skipstream.ImageFailure(0, 13, "\x1b[2J")]
    assert str(skipstream.GenerationFailed([], failures)).isprintable()
    assert repr(failures[0]).isprintable()


def test_a_server_that_asks_for_a_retry_in_the_past_is_asked_at_once(server: FakeServer) -> None:
    past = details.RetryInfo(retry_delay=duration_pb2.Duration(seconds=-5))
    server.unary_failures = [Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", past)]
    with skipstream.Client(server.target) as client:
        assert client.models()
