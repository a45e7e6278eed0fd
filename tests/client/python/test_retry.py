import asyncio
import time
from collections.abc import Callable

import grpc
import pytest
import skipstream
from fake_server import Fail, FakeServer, accepted, completed, image, preview, progress
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2 as details

FAST = skipstream.RetryPolicy(initial_backoff=0.001, max_backoff=0.002)

Generate = Callable[..., list[skipstream.GeneratedImage]]


@pytest.fixture(params=["sync", "async"])
def generate(request: pytest.FixtureRequest, server: FakeServer) -> Generate:
    """generate() of the blocking and of the asyncio client: both keep the same promises."""

    def sync_generate(retry: skipstream.RetryPolicy = FAST, **options):
        with skipstream.Client(server.target, retry=retry) as client:
            return client.generate(**options)

    def async_generate(retry: skipstream.RetryPolicy = FAST, **options):
        async def run():
            async with skipstream.AsyncClient(server.target, retry=retry) as client:
                return await client.generate(**options)

        return asyncio.run(run())

    return sync_generate if request.param == "sync" else async_generate


def busy(seconds: float) -> Fail:
    delay = duration_pb2.Duration(nanos=int(seconds * 1e9))
    return Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", details.RetryInfo(retry_delay=delay))


def test_unavailable_is_tried_again(server: FakeServer, generate: Generate) -> None:
    unavailable = [Fail(grpc.StatusCode.UNAVAILABLE)]
    server.scripts = [unavailable, unavailable, [accepted(), image(0), completed()]]
    assert len(generate(seeds=1)) == 1
    assert len(server.requests) == 3


def test_a_retry_asks_for_the_same_images(server: FakeServer, generate: Generate) -> None:
    server.scripts = [[Fail(grpc.StatusCode.UNAVAILABLE)], [image(0), image(1), completed()]]
    generate(count=2)
    first, second = server.requests
    assert len(first.seeds) == 1, "the seed is drawn before the first try"
    assert first == second


def test_every_try_has_the_same_id_and_every_call_its_own(
    server: FakeServer, generate: Generate
) -> None:
    done = [image(0), completed()]
    server.scripts = [[Fail(grpc.StatusCode.UNAVAILABLE)], done, done]
    generate(seeds=1)
    generate(seeds=1)
    first, retry, other = [request.request_id for request in server.requests]
    assert len(first) == 32
    assert first == retry
    assert first != other


def test_an_id_of_the_callers_makes_the_same_call_the_same_request(
    server: FakeServer, generate: Generate
) -> None:
    server.scripts = [[image(0), completed()]] * 3
    generate(request_id="poster", count=2)
    generate(request_id="poster", count=2)
    generate(request_id="banner", count=2)
    first, again, other = server.requests
    assert first.request_id == "poster"
    assert first == again
    assert first.seeds != other.seeds


def test_without_retries_no_id_is_drawn(server: FakeServer, generate: Generate) -> None:
    server.scripts = [[image(0), completed()]]
    generate(retry=skipstream.RetryPolicy(max_attempts=1), seeds=1)
    assert not server.requests[0].request_id


def test_images_delivered_before_a_failure_are_not_repeated(
    server: FakeServer, generate: Generate
) -> None:
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    server.scripts = [
        [accepted(), image(1, color=red), Fail(grpc.StatusCode.UNAVAILABLE)],
        [accepted(), image(0, color=green), image(1, color=blue), completed()],
    ]
    images = generate(seeds=[4, 5])
    assert [i.index for i in images] == [0, 1]
    assert [i.image.getpixel((0, 0)) for i in images] == [green, red]


def test_progress_of_delivered_images_is_not_repeated(server: FakeServer) -> None:
    server.scripts = [
        [accepted(), image(0), Fail(grpc.StatusCode.UNAVAILABLE)],
        [
            accepted(),
            progress(0, 3),
            preview(0, 3),
            progress(1, 3),
            image(0),
            image(1),
            completed(),
        ],
    ]
    with skipstream.Client(server.target, retry=FAST) as client:
        events = list(client.stream(seeds=[4, 5]))
    assert [e.image_index for e in events if isinstance(e, skipstream.Progress)] == [1]
    assert not [e for e in events if isinstance(e, skipstream.Preview)]


def test_it_gives_up_after_max_attempts(server: FakeServer, generate: Generate) -> None:
    server.scripts = [[Fail(grpc.StatusCode.UNAVAILABLE)]] * 9
    with pytest.raises(skipstream.Unavailable):
        generate(retry=skipstream.RetryPolicy(max_attempts=3, initial_backoff=0.001))
    assert len(server.requests) == 3


def test_what_a_draining_server_turns_away_does_not_count(
    server: FakeServer, generate: Generate
) -> None:
    draining = Fail(grpc.StatusCode.UNAVAILABLE, "draining", details.ErrorInfo(reason="DRAINING"))
    server.scripts = [*[[draining]] * 9, [image(0), completed()]]
    policy = skipstream.RetryPolicy(max_attempts=2, initial_backoff=0.001, max_backoff=0.002)
    assert len(generate(retry=policy, seeds=1)) == 1
    server.scripts = [[draining]] * 9
    policy = skipstream.RetryPolicy(max_attempts=2, initial_backoff=0.01, max_total_wait=0.05)
    with pytest.raises(skipstream.Unavailable):
        generate(retry=policy, seeds=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
        (grpc.StatusCode.UNKNOWN, "Stream removed (Data frame with END_STREAM flag received)"),
        (grpc.StatusCode.CANCELLED, "CANCELLED"),
    ],
)
def test_a_stream_that_the_other_side_cut_is_tried_again(
    server: FakeServer, generate: Generate, code: grpc.StatusCode, message: str
) -> None:
    server.scripts = [[accepted(), Fail(code, message)], [image(0), completed()]]
    assert len(generate(seeds=1)) == 1


def test_a_busy_server_is_tried_again_when_it_says_when(
    server: FakeServer, generate: Generate
) -> None:
    server.scripts = [[busy(0.05)], [image(0), completed()]]
    begin = time.monotonic()
    assert len(generate(seeds=1)) == 1
    assert time.monotonic() - begin >= 0.05


def test_a_busy_server_that_does_not_is_left_alone(server: FakeServer, generate: Generate) -> None:
    server.scripts = [[Fail(grpc.StatusCode.RESOURCE_EXHAUSTED)]]
    with pytest.raises(skipstream.ServerBusy):
        generate(seeds=1)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.NOT_FOUND,
    ],
)
def test_other_failures_are_final(
    server: FakeServer, generate: Generate, code: grpc.StatusCode
) -> None:
    server.scripts = [[Fail(code)]]
    with pytest.raises(skipstream.SkipstreamError):
        generate(seeds=1)
    assert len(server.requests) == 1


def test_a_pause_beyond_the_timeout_is_not_begun(server: FakeServer, generate: Generate) -> None:
    server.scripts = [[busy(0.9)]]
    begin = time.monotonic()
    with pytest.raises(skipstream.ServerBusy):
        generate(seeds=1, timeout=0.5)
    assert time.monotonic() - begin < 0.9


def test_unary_calls_are_tried_again_too(server: FakeServer) -> None:
    server.unary_failures = [Fail(grpc.StatusCode.UNAVAILABLE)]
    with skipstream.Client(server.target, retry=FAST) as client:
        assert client.models()[0].name == "nouns32"
    assert len(server.unary_calls) == 2


def test_pauses_grow_to_a_bound_and_are_spread() -> None:
    policy = skipstream.RetryPolicy(
        max_attempts=10, initial_backoff=0.1, multiplier=2.0, max_backoff=1.0, jitter=0.2
    )
    error = skipstream.Unavailable("down", code=grpc.StatusCode.UNAVAILABLE)
    for attempt, nominal in [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (9, 1.0)]:
        delays = [policy.delay(attempt, error) for _ in range(50)]
        assert all(d is not None and 0.8 * nominal <= d <= 1.2 * nominal for d in delays)
        assert len(set(delays)) > 1
    assert policy.delay(10, error) is None
    patient = skipstream.RetryPolicy(max_attempts=10_000, max_backoff=1.0, jitter=0)
    assert patient.delay(9_999, error) == 1.0


def test_retry_info_is_never_undercut() -> None:
    error = skipstream.ServerBusy("full", code=grpc.StatusCode.RESOURCE_EXHAUSTED)
    error.retry_after = 3.0
    delays = [skipstream.RetryPolicy().delay(1, error) for _ in range(50)]
    assert all(d is not None and 3.0 <= d <= 3.6 for d in delays)
