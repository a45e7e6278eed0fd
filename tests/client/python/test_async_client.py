import asyncio
import contextlib

import pytest
import skipstream
from fake_server import FakeServer, WaitForCancel, accepted, completed, failure, image, progress

TIMEOUT = 20.0


async def test_generate(server: FakeServer) -> None:
    server.scripts = [[accepted(), progress(0, 3), image(1), image(0), completed()]]
    seen: list[skipstream.Progress] = []
    async with skipstream.AsyncClient(server.target) as client:
        images = await client.generate(seeds=[1, 2], on_progress=seen.append)
    assert [i.index for i in images] == [0, 1]
    assert len(seen) == 1


async def test_every_kind_of_option_reaches_the_server(server: FakeServer) -> None:
    options = skipstream.RequestOptions(
        request_id="mine",
        seeds=[5],
        solver="unipc",
        unipc=skipstream.Unipc(order=3),
        guidance=2.0,
        input_image=b"x",
    )
    server.scripts = [[image(0), completed()]]
    async with skipstream.AsyncClient(server.target) as client:
        await client.generate(**options)
    assert server.requests == [skipstream.make_request(**options)]


async def test_stream(server: FakeServer) -> None:
    server.scripts = [[accepted(), image(0), completed()]]
    async with skipstream.AsyncClient(server.target) as client:
        kinds = [type(event) async for event in client.stream(seeds=[1])]
    assert kinds == [skipstream.Accepted, skipstream.ImageReady, skipstream.Completed]


async def test_failed_images_raise_with_the_others_attached(server: FakeServer) -> None:
    server.scripts = [[failure(0), image(1), completed()]]
    async with skipstream.AsyncClient(server.target) as client:
        with pytest.raises(skipstream.GenerationFailed) as caught:
            await client.generate(seeds=[1, 2])
    assert [i.index for i in caught.value.images] == [1]


async def test_cancelling_the_task_cancels_the_call(server: FakeServer) -> None:
    server.scripts = [[progress(0, 1), WaitForCancel()]]
    begun = asyncio.Event()
    async with skipstream.AsyncClient(server.target) as client:
        task = asyncio.create_task(client.generate(seeds=1, on_progress=lambda _: begun.set()))
        await asyncio.wait_for(begun.wait(), TIMEOUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.cancelled.wait, TIMEOUT)


async def test_closing_the_stream_cancels_the_call(server: FakeServer) -> None:
    server.scripts = [[accepted(), WaitForCancel()]]
    async with skipstream.AsyncClient(server.target) as client:
        async with contextlib.aclosing(client.stream(seeds=1)) as events:
            async for _ in events:
                break
        assert await asyncio.to_thread(server.cancelled.wait, TIMEOUT)


async def test_calls_run_side_by_side(server: FakeServer) -> None:
    one = [accepted(), image(0), completed()]
    server.scripts = [one, one, one]
    async with skipstream.AsyncClient(server.target) as client:
        results = await asyncio.gather(*(client.generate(seeds=1) for _ in range(3)))
    assert [len(r) for r in results] == [1, 1, 1]


async def test_models_health_and_control(server: FakeServer) -> None:
    async with skipstream.AsyncClient(server.target) as client:
        assert [m.name for m in await client.models()] == ["nouns32", "other"]
        assert (await client.model("other")).name == "other"
        assert await client.health() == skipstream.Health(live=True, ready=True)
        assert (await client.load_model("x.safetensors", "mine")).name == "mine"
        loaded = await client.load_model("x.safetensors", "mine", replace=True)
        assert loaded.replaced_sha256 == "ef" * 32
        await client.unload_model("mine")
