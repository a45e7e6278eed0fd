"""Images from a real server: the same noise for every setting, kept, resumed, cancelled."""

import asyncio
import io
import subprocess
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numpy as np
import pytest
import skipstream
from skipstream_quality.cli import main
from skipstream_quality.errors import QualityError
from skipstream_quality.measure import Measure
from skipstream_quality.progress import Progress
from skipstream_quality.report import BEGIN
from skipstream_quality.results import Results
from skipstream_quality.service import CHUNK, SEED_STEP, Options, Service, connect
from skipstream_quality.settings import Setting, Tuning
from skipstream_quality.study import run_study
from skipstream_quality.study_file import parse_study

Result = TypeVar("Result")
EULER = Setting("euler", 2)
TOOL = Path(__file__).resolve().parents[3] / "tools" / "quality"


def with_service(address: str, cache: Path, work: Callable[[Service], Awaitable[Result]]) -> Result:
    async def body() -> Result:
        client, service = await connect(address, "", Options(cache))
        async with client:
            return await work(service)

    return asyncio.run(body())


def test_image_i_has_the_seed_and_class_it_says(address: str, tmp_path: Path) -> None:
    run = with_service(address, tmp_path, lambda s: s.pictures(EULER, 2, 32))
    with skipstream.Client(address) as client:
        alone = client.generate(seeds=2 * SEED_STEP + 7, classes=7, solver="euler", nfe=2)[0]
    difference = np.abs(run.pictures[7].astype(int) - np.asarray(alone.image))
    assert difference.max() <= 1


def test_what_is_kept_is_not_made_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    generate: Any = skipstream.AsyncClient.generate

    async def counting(client: Any, **options: Any) -> list[skipstream.GeneratedImage]:
        images: list[skipstream.GeneratedImage] = await generate(client, **options)
        made.append(len(images))
        return images

    monkeypatch.setattr(skipstream.AsyncClient, "generate", counting)
    first = with_service(address, tmp_path, lambda s: s.pictures(EULER, 0, 2 * CHUNK))
    assert sum(made) == 2 * CHUNK
    (first.folder / f"{CHUNK:06d}.npy").unlink()  # as if the run had been stopped in between
    made.clear()
    second = with_service(address, tmp_path, lambda s: s.pictures(EULER, 0, 2 * CHUNK))
    assert sum(made) == CHUNK
    assert np.abs(first.pictures.astype(int) - second.pictures).max() <= 1
    assert first.folder == second.folder


def test_settings_are_kept_apart_by_what_is_computed(address: str, tmp_path: Path) -> None:
    async def work(service: Service) -> list[Path]:
        settings = [
            EULER,
            Setting("euler", 2, Tuning(0.9, 0.9)),
            # A profile of nothing is nothing.
            Setting("euler", 2, Tuning(1.0, 1.0, ("window", (0.0, 1.0)))),
        ]
        return [(await service.pictures(setting, 0, 2)).folder for setting in settings]

    plain, tuned, same = with_service(address, tmp_path, work)
    assert plain != tuned
    assert plain == same


def test_notices_a_cache_of_other_pictures(address: str, tmp_path: Path) -> None:
    run = with_service(address, tmp_path, lambda s: s.pictures(EULER, 0, 2))
    file = run.folder / "000000.npy"
    np.save(file, 255 - np.load(file))
    with pytest.raises(QualityError, match="other pictures"):
        with_service(address, tmp_path, lambda s: s.pictures(EULER, 0, 2))


def test_a_wrong_request_is_the_servers_answer(address: str, tmp_path: Path) -> None:
    with pytest.raises(skipstream.InvalidRequest, match="nfe"):
        with_service(address, tmp_path, lambda s: s.pictures(Setting("heun", 4), 0, 2))


def test_a_cancelled_run_leaves_the_server_idle_and_no_half_files(
    address: str, tmp_path: Path
) -> None:
    async def work(service: Service) -> None:
        started = asyncio.Event()
        slow = Setting("euler", 200)

        async def probe_done() -> None:
            while not list(tmp_path.glob("*/setting.txt")):
                await asyncio.sleep(0.02)
            started.set()

        task = asyncio.create_task(service.pictures(slow, 0, 320))
        watcher = asyncio.create_task(probe_done())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await watcher
        # 64,000 evaluations would keep it busy for minutes.
        run = await asyncio.wait_for(service.pictures(EULER, 0, 1), 60)
        assert len(run.pictures) == 1

    with_service(address, tmp_path, work)
    assert not [file for file in tmp_path.rglob("*") if file.name.startswith(".")]


def test_the_study_runs_from_one_command_and_again_from_what_it_kept(
    address: str, tmp_path: Path, tiny_study: Path
) -> None:
    outputs = [f"--cache={tmp_path}/cache", f"--results={tmp_path}/results.json"]
    outputs += [f"--document={tmp_path}/quality.md", f"--figures={tmp_path}/figures"]
    command = ["study", str(tiny_study), "--address", address, *outputs]
    subprocess.run([TOOL, *command], check=True, timeout=250)
    results = Results.load(tmp_path / "results.json")
    first = (tmp_path / "quality.md").read_text()
    assert BEGIN in first
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        *("rho.svg", "noise.svg", "sheet-euler-3.png")
    }
    rho, noise, guided, again = results.groups
    assert [len(group.cells) for group in (rho, noise, guided)] == [6, 2, 1]
    assert guided.left_out == []
    # rho 1 and the best for each NFE, on two seeds the choice did not see.
    assert {cell.setting.nfe for cell in again.cells} == {1, 3}
    assert all(len(cell.runs) == 2 for cell in again.cells)
    tried = [cell for cell in [*rho.cells, *noise.cells] if cell.setting.nfe == 3]
    best = min(tried, key=lambda cell: cell.mean("fd"))
    chosen = {cell.setting for cell in again.cells if cell.setting.nfe == 3}
    assert chosen == {Setting("euler", 3), best.setting}
    # Blurred images are far from real ones, and three evaluations are better than one.
    floor = results.floor_of(32, "fd")[0]
    plain = {c.setting.nfe: c.mean("fd") for c in rho.cells if c.setting.tuning.plain}
    assert floor < plain[3] < plain[1]

    assert main(command) == 0
    assert (tmp_path / "quality.md").read_text() == first


def test_guidance_is_left_out_where_the_model_cannot(tmp_path: Path) -> None:
    study = parse_study(tomllib.loads('[[group]]\nid = "a"\nguidance = [2.0]'))

    class Unguided:
        info = SimpleNamespace(supports_guidance=False)
        server_version = "1"

    class Real:
        def of_real(self, images: int, seed: int) -> dict[str, float]:
            return {"fd": 1.0}

    service, measure = cast(Service, Unguided()), cast(Measure, Real())
    progress = Progress(0, io.StringIO())
    results = asyncio.run(run_study(study, service, measure, {}, "", tmp_path, progress))
    assert results.groups[0].cells == []
    assert "label dropout" in results.groups[0].left_out[0]


def test_says_what_is_wrong_and_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["study", str(tmp_path / "missing.toml")]) == 1
    assert "missing.toml" in capfd.readouterr().err
    assert main(["measure", "--server", "/bin/false"]) == 1
    assert "did not start" in capfd.readouterr().err
    assert main(["measure", "--address", "127.0.0.1:1", "--tuning", '{"rho": 7}']) == 1
    assert "from 0 to 2" in capfd.readouterr().err
