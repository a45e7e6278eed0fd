import io
import sys

import pytest
import skipstream
from fake_server import (
    FakeServer,
    WaitForCancel,
    accepted,
    completed,
    failure,
    image,
    preview,
    progress,
)
from PIL import Image
from skipstream._generation import ProgressBar
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb

TIMEOUT = 20.0


@pytest.fixture
def client(server: FakeServer):
    with skipstream.Client(server.target) as client:
        yield client


def test_images_come_in_the_order_of_the_request(
    server: FakeServer, client: skipstream.Client
) -> None:
    server.scripts = [[accepted(), image(1, 8), image(0, 7), completed()]]
    images = client.generate(seeds=[7, 8])
    assert [(i.index, i.seed) for i in images] == [(0, 7), (1, 8)]


def test_an_image_carries_everything_known_about_it(
    server: FakeServer, client: skipstream.Client, tmp_path
) -> None:
    server.scripts = [[accepted(), image(0, 7, (10, 20, 30)), completed()]]
    (made,) = client.generate(seeds=7)
    assert made.class_index == 5
    assert made.class_name == "cat"
    assert made.image.size == (4, 2)
    assert made.image.getpixel((0, 0)) == (10, 20, 30)
    assert made.resolved_request == pb.GenerateRequest(seeds=[7])
    assert (made.queue_seconds, made.run_seconds) == (0.25, 0.5)
    made.save(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == made.data


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_raw_images_decode_to_pictures_too(
    server: FakeServer, client: skipstream.Client, channels: int, mode: str
) -> None:
    event = image(0)
    event.image.picture.CopyFrom(
        pb.EncodedImage(
            format=pb.IMAGE_FORMAT_RAW,
            width=2,
            height=1,
            channels=channels,
            data=bytes(range(2 * channels)),
        )
    )
    server.scripts = [[event, completed()]]
    (made,) = client.generate(seeds=7, format="raw")
    assert made.image == Image.frombytes(mode, (2, 1), bytes(range(2 * channels)))


def test_webp_images_decode(server: FakeServer, client: skipstream.Client) -> None:
    out = io.BytesIO()
    Image.new("RGB", (4, 2), (10, 20, 30)).save(out, "WEBP", lossless=True)
    event = image(0)
    event.image.picture.format = pb.IMAGE_FORMAT_WEBP
    event.image.picture.data = out.getvalue()
    server.scripts = [[event, completed()]]
    (made,) = client.generate(seeds=7, format="webp")
    assert made.image.getpixel((3, 1)) == (10, 20, 30)


def test_an_image_of_a_model_without_classes_has_none(
    server: FakeServer, client: skipstream.Client
) -> None:
    event = image(0)
    event.image.ClearField("class_index")
    server.scripts = [[event, completed()]]
    assert client.generate(seeds=7)[0].class_index is None


def test_stream_yields_typed_events_in_order(server: FakeServer, client: skipstream.Client) -> None:
    server.scripts = [
        [accepted(), progress(0, 3), preview(0, 3), image(0), failure(1), completed()]
    ]
    events = list(client.stream(seeds=[1, 2]))
    assert [type(e) for e in events] == [
        skipstream.Accepted,
        skipstream.Progress,
        skipstream.Preview,
        skipstream.ImageReady,
        skipstream.ImageFailure,
        skipstream.Completed,
    ]
    assert events[0] == skipstream.Accepted(2, 30, 1.5)
    assert events[1] == skipstream.Progress(0, 3, 9, 3, 9)
    assert events[5].server_version == "0.1.0"
    assert events[5].evaluations == 18
    assert events[5].denoiser_calls == 9


def test_events_of_a_newer_server_are_passed_over(
    server: FakeServer, client: skipstream.Client
) -> None:
    server.scripts = [[pb.GenerateEvent(), image(0), completed()]]
    assert [type(e) for e in client.stream()] == [skipstream.ImageReady, skipstream.Completed]


def test_progress_is_reported(server: FakeServer, client: skipstream.Client) -> None:
    server.scripts = [[progress(0, 3), progress(0, 9), image(0), completed()]]
    seen: list[int] = []
    client.generate(on_progress=lambda p: seen.append(p.evaluations_done))
    assert seen == [3, 9]


def test_the_bar_is_drawn_on_a_terminal_only(
    server: FakeServer, client: skipstream.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stderr, drawn in [(Terminal(), True), (io.StringIO(), False)]:
        server.scripts = [[progress(0, 3), image(0), completed()]]
        monkeypatch.setattr(sys, "stderr", stderr)
        client.generate(progress=True)
        assert ("3/9 evaluations" in stderr.getvalue()) == drawn


def test_the_bar_fills_up() -> None:
    out = io.StringIO()
    bar = ProgressBar(out)
    bar.update(skipstream.Progress(0, 5, 10, 5, 10))
    assert "[" + "#" * 15 + "." * 15 + "] 5/10" in out.getvalue()
    bar.update(skipstream.Progress(0, 10, 10, 10, 10))
    bar.close()
    assert out.getvalue().endswith("[" + "#" * 30 + "] 10/10 evaluations\n")


def test_failed_images_raise_with_the_others_attached(
    server: FakeServer, client: skipstream.Client
) -> None:
    server.scripts = [[failure(0, "not finite"), image(1), completed()]]
    with pytest.raises(skipstream.GenerationFailed, match=r"image 0.*not finite") as caught:
        client.generate(seeds=[1, 2])
    assert [i.index for i in caught.value.images] == [1]
    assert [f.index for f in caught.value.failures] == [0]


def test_closing_the_stream_cancels_the_call(server: FakeServer, client: skipstream.Client) -> None:
    server.scripts = [[accepted(), WaitForCancel()]]
    events = client.stream(seeds=1)
    assert isinstance(next(events), skipstream.Accepted)
    events.close()
    assert server.cancelled.wait(TIMEOUT)


def test_an_interrupt_cancels_the_call(server: FakeServer, client: skipstream.Client) -> None:
    def interrupt(_: skipstream.Progress) -> None:
        raise KeyboardInterrupt

    server.scripts = [[progress(0, 1), WaitForCancel()]]
    with pytest.raises(KeyboardInterrupt):
        client.generate(seeds=1, on_progress=interrupt)
    assert server.cancelled.wait(TIMEOUT)


def test_a_timeout_ends_the_call(server: FakeServer, client: skipstream.Client) -> None:
    server.scripts = [[accepted(), WaitForCancel()]]
    with pytest.raises(skipstream.TimedOut):
        client.generate(seeds=1, timeout=0.2)


def test_every_kind_of_option_reaches_the_server(
    server: FakeServer, client: skipstream.Client
) -> None:
    options = skipstream.RequestOptions(
        request_id="mine",
        seeds=[5],
        solver="dpmpp_2m_sde",
        schedule="vp",
        step_noise=skipstream.StepNoise(eta=0.5),
        guidance=skipstream.Guidance(2.0, sigma_lo=0.3),
        input_image=skipstream.InputImage(Image.new("L", (4, 2)), strength=0.5),
    )
    server.scripts = [[image(0), completed()]]
    client.generate(**options)
    assert server.requests == [skipstream.make_request(**options)]


def test_a_ready_request_is_sent_as_it_is(server: FakeServer, client: skipstream.Client) -> None:
    server.scripts = [[image(0), completed()]]
    request = pb.GenerateRequest(seeds=[5], model_sha256="ab" * 32, request_id="mine")
    client.generate(request)
    assert server.requests == [request]


def test_a_ready_request_and_options_do_not_mix(client: skipstream.Client) -> None:
    with pytest.raises(TypeError, match="not both"):
        client.stream(pb.GenerateRequest(), nfe=9)


def test_models(client: skipstream.Client) -> None:
    first, second = client.models()
    assert first == skipstream.ModelSummary("nouns32", True, 32, 32, 64, 7)
    assert not second.is_default


def test_model(client: skipstream.Client) -> None:
    model = client.model()
    assert model.name == "nouns32"
    assert model.class_names == ("cat", "dog")
    assert [(p.name, p.solver, p.nfe) for p in model.presets] == [
        ("default", None, 9),
        ("default", "heun", 35),
    ]
    assert model.presets[0].skip_tuning.rho == 1.05
    assert model.limits.max_nfe == 1024
    assert model.supports_guidance
    assert model.sigma_levels == (80.0, 5.0, 0.01)
    assert client.model("other").name == "other"


def test_health(server: FakeServer, client: skipstream.Client) -> None:
    assert client.health() == skipstream.Health(live=True, ready=True)
    server.serving["readiness"] = False
    assert client.health() == skipstream.Health(live=True, ready=False)


def test_model_control(server: FakeServer, client: skipstream.Client) -> None:
    loaded = client.load_model("x.safetensors")
    assert loaded == skipstream.LoadedModel("from_file", "cd" * 32)
    assert client.load_model("x.safetensors", "mine").name == "mine"
    replaced = client.load_model("x.safetensors", "mine", replace=True)
    assert replaced == skipstream.LoadedModel("mine", "cd" * 32, replaced_sha256="ef" * 32)
    client.unload_model("mine")
    assert [r.name for r in server.unary_calls] == ["", "mine", "mine", "mine"]
    assert [r.replace for r in server.unary_calls[:3]] == [False, False, True]
