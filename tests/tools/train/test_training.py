"""The arithmetic of a step."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_pictures, small_config, trainer_of
from skipstream_train.errors import TrainError
from skipstream_train.optimizer import Adam
from skipstream_train.progress import Entry, Progress, curve_svg, read_log, sparkline
from skipstream_train.training import MAX_SKIPPED_IN_A_ROW, ema_decay


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_pictures(tmp_path)


def test_the_loss_is_the_weighted_error_of_the_denoiser(folder: Path) -> None:
    """EDM, equation 8, in float64; with a last layer of zeros D is c_skip x."""
    trainer = trainer_of(small_config(folder, training__learning_rate=1e-8))
    for parameter in trainer.state.net.model.dec["8x8_aux_conv"].parameters():
        torch.nn.init.zeros_(parameter)
    drawn = trainer.draw(0)
    loss, _ = trainer.step()
    sigma = drawn.sigma.double().numpy()[:, None, None, None]
    pictures = drawn.pictures.double().numpy()
    denoised = 0.25 / (sigma**2 + 0.25) * (pictures + sigma * drawn.noise.double().numpy())
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    assert loss == pytest.approx(float((weight * (denoised - pictures) ** 2).mean()), rel=1e-5)


def test_sigma_is_log_normal_and_noise_standard_normal(folder: Path) -> None:
    trainer = trainer_of(small_config(folder, training__batch=4096, training__images=4096))
    drawn = trainer.draw(0)
    logs = drawn.sigma.double().log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=6 * 1.2 / 64)
    assert float(logs.std()) == pytest.approx(1.2, abs=6 * 1.2 / math.sqrt(2 * 4096))
    assert float(drawn.noise.mean()) == pytest.approx(0, abs=6 / math.sqrt(drawn.noise.numel()))
    assert float(drawn.noise.std()) == pytest.approx(1, abs=0.01)
    assert float(drawn.pictures.min()) >= -1
    assert float(drawn.pictures.max()) <= 1


def test_a_tenth_of_the_labels_is_dropped(folder: Path) -> None:
    trainer = trainer_of(small_config(folder, training__batch=8192, training__images=8192))
    labels = trainer.draw(3).labels
    assert labels is not None
    kept = labels.sum(dim=1)
    assert set(kept.tolist()) == {0.0, 1.0}
    dropped = 1 - float(kept.mean())
    assert dropped == pytest.approx(0.1, abs=6 * math.sqrt(0.09 / 8192))


def test_no_label_is_dropped_if_the_share_is_0(folder: Path) -> None:
    labels = trainer_of(small_config(folder, training__label_dropout=0.0)).draw(0).labels
    assert labels is not None
    assert bool((labels.sum(dim=1) == 1).all())


def test_steps_draw_different_numbers_and_a_step_always_the_same(folder: Path) -> None:
    trainer = trainer_of(small_config(folder))
    first, again, second = trainer.draw(4), trainer.draw(4), trainer.draw(5)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.noise, second.noise)
    assert not torch.equal(first.sigma, second.sigma)


def test_the_average_forgets_half_in_a_half_life(folder: Path) -> None:
    """A weight that stays at 1 while its average begins at 0."""
    config = small_config(folder, training__ema_half_life=64, training__ema_ramp_up=1.0)
    decay = ema_decay(config.training, images_seen=1_000_000)
    assert decay ** (64 / config.training.batch) == pytest.approx(0.5)
    # Early on the half-life is a share of what was seen.
    assert ema_decay(config.training, images_seen=32) == pytest.approx(0.5 ** (16 / 32))


def test_the_average_is_the_one_of_the_formula(folder: Path) -> None:
    trainer = trainer_of(small_config(folder))
    name = "model.map_layer0.weight"
    expected = trainer.state.ema[name].double().clone()
    for step in range(1, 5):
        trainer.step()
        decay = 0.5 ** (16 / min(200, 16 * step))
        current = trainer.state.net.state_dict()[name].double()
        expected = decay * expected + (1 - decay) * current
    torch.testing.assert_close(trainer.state.ema[name].double(), expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(trainer.state.ema[name], trainer.state.net.state_dict()[name])


def test_the_learning_rate_warms_up_and_cools_down(folder: Path) -> None:
    config = small_config(
        folder,
        training__images=1600,
        training__warmup_images=160,
        training__cooldown_images=400,
        training__learning_rate=0.01,
    )
    trainer = trainer_of(config)
    rates = {}
    for images in (0, 144, 160, 1200, 1400, 1600):
        trainer.state.images = images
        rates[images] = trainer.learning_rate()
    expected = {0: 0.001, 144: 0.01, 160: 0.01, 1200: 0.01, 1400: 0.005, 1600: 0.0}
    assert rates == pytest.approx(expected)


def test_the_optimizer_is_adam() -> None:
    """arXiv 1412.6980, Algorithm 1, in float64."""
    draw = np.random.default_rng(3)
    start = draw.standard_normal(7)
    ours = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    adam = Adam([ours])
    expected, m, v = start, np.zeros(7), np.zeros(7)
    for t in range(1, 6):
        gradient = draw.standard_normal(7) * 10.0 ** (t - 3)
        ours.grad = torch.tensor(gradient, dtype=torch.float32)
        adam.step(0.1 / t)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        expected = expected - 0.1 / t * step
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_micro_batches_change_the_memory_and_not_the_step(folder: Path) -> None:
    whole = trainer_of(small_config(folder, training__micro_batch=16))
    parts = trainer_of(small_config(folder, training__micro_batch=4))
    for _ in range(3):
        assert parts.step() == pytest.approx(whole.step(), rel=1e-4)


def test_the_number_of_threads_does_not_change_a_bit(folder: Path) -> None:
    config = small_config(folder, training__micro_batch=2, model__dropout=0.2)
    one, several = (trainer_of(config, threads=threads) for threads in (1, 3))
    for _ in range(3):
        assert one.step() == several.step()
    for name, value in one.state.ema.items():
        assert torch.equal(value, several.state.ema[name]), name


def test_dropout_drops_its_share_and_keeps_the_mean(folder: Path) -> None:
    """Seen through a block whose second convolution passes its middle taps on."""
    config = small_config(folder, model__dropout=0.25)
    block = trainer_of(config).state.net.model.enc["8x8_block0"]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.norm1.bias.fill_(1.0)
        block.conv1.weight[:, :, 1, 1] = torch.eye(8)
        x, emb = torch.zeros(64, 8, 8, 8), torch.zeros(64, 32)
        whole = block(x, emb, None)
        dropped = block(x, emb, torch.Generator().manual_seed(1))
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)
    share = float(kept.float().mean())
    assert share == pytest.approx(0.75, abs=6 * math.sqrt(0.1875 / kept.numel()))


def test_the_gradient_is_clipped(folder: Path) -> None:
    trainer = trainer_of(small_config(folder, training__gradient_clip=1e-3))
    _, norm = trainer.step()
    gradients = [p.grad for p in trainer.state.net.parameters() if p.grad is not None]
    after = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    assert norm > 1e-2
    assert after == pytest.approx(1e-3, rel=1e-3)


def test_training_learns(folder: Path) -> None:
    """Four images: a network that can do nothing yet learns some of them in 60 steps."""
    config = small_config(folder, training__images=960, training__learning_rate=5e-3)
    trainer = trainer_of(config)
    losses = [trainer.step()[0] for _ in range(60)]
    assert np.mean(losses[-15:]) < 0.88 * np.mean(losses[:5])


def test_bfloat16_computes_nearly_the_same(folder: Path) -> None:
    exact = trainer_of(small_config(folder))
    rounded = trainer_of(small_config(folder, training__precision="bfloat16"))
    assert rounded.step() == pytest.approx(exact.step(), rel=0.03)
    assert {value.dtype for value in rounded.state.ema.values()} == {torch.float32}


def test_a_step_without_a_finite_gradient_changes_nothing(folder: Path) -> None:
    trainer = trainer_of(small_config(folder))
    trainer.step()
    bias = trainer.state.net.model.map_layer0.bias
    before = {name: value.clone() for name, value in trainer.state.ema.items()}
    held = bias.detach().clone()
    with torch.no_grad():
        bias[0] = math.nan
    trainer.step()
    with torch.no_grad():
        bias.copy_(held)
    assert trainer.state.skipped == 1
    for name, value in trainer.state.ema.items():
        assert torch.equal(value, before[name])
    trainer.step()
    assert trainer.state.skipped_in_a_row == 0

    with torch.no_grad():
        bias[0] = math.nan
    for _ in range(MAX_SKIPPED_IN_A_ROW - 1):
        trainer.step()
    with pytest.raises(TrainError, match="not finite 20 steps in a row"):
        trainer.step()


def test_the_log_forgets_what_a_resumed_run_does_again(tmp_path: Path) -> None:
    entry = Entry(16, 16, 1.0, 1.0, 1e-3, 10.0, 0)
    lines = [Entry(**{**entry.__dict__, "images": images}) for images in (16, 32, 48)]
    text = "".join(f"{line.__dict__}\n".replace("'", '"') for line in lines)
    (tmp_path / "log.jsonl").write_text(text + '{"images": 64, "lo')
    assert read_log(tmp_path / "log.jsonl") == lines
    progress = Progress(tmp_path, 100, 16, resumed_at=40, out=io.StringIO())
    assert progress.entries == lines[:2]
    assert read_log(tmp_path / "log.jsonl") == lines[:2]


def test_a_curve_is_drawn_from_the_log() -> None:
    entries = [Entry(i, i + 1000, 1.0 / i, 1.0, 1e-3, 10.0, 0) for i in range(1, 40)]
    svg = curve_svg(entries)
    assert svg.count("<polyline") == 2
    assert svg.count(",") >= 2 * len(entries)
    assert sparkline([entry.loss for entry in entries], 8)[0] == "█"
    assert sparkline([entry.loss for entry in entries], 8)[-1] == "▁"
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"
