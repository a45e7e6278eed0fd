"""One step of EDM training (arXiv 2206.00364, section 5 and Table 1) and the loop around it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skipstream_train import model_file
from skipstream_train.config import Config, TrainingConfig
from skipstream_train.data import Data
from skipstream_train.errors import TrainError
from skipstream_train.model_file import ModelFile
from skipstream_train.optimizer import Adam
from skipstream_train.progress import Progress
from skipstream_train.state import Saved, State, restore, save
from skipstream_train.unet import Denoiser

MAX_SKIPPED_IN_A_ROW = 20


@dataclass(frozen=True)
class Drawn:
    """The random numbers of one step."""

    pictures: Tensor  # [B, C, H, W], -1 to 1
    labels: Tensor | None  # [B, label_dim], one-hot; zeros where the class was dropped
    sigma: Tensor  # [B]
    noise: Tensor  # [B, C, H, W], standard normal
    dropout_seed: int


class Trainer:
    """Trains one network.

    On a CPU `threads` micro-batches are computed at a time, each by one thread: that keeps all
    cores busy, while several threads in every operation would wait for each other most of the time.
    The result does not depend on how many there are.
    """

    def __init__(self, config: Config, data: Data, device: torch.device, threads: int = 1) -> None:
        self.config = config
        self.data = data
        self.device = device
        torch.manual_seed(config.training.seed)
        unet = model_file.unet_config(config, len(data.classes))
        net = Denoiser(unet, config.model.sigma_data)
        batch = config.training.batch
        self._micro_batch = config.training.micro_batch or (
            math.gcd(batch, 16) if device.type == "cpu" else batch
        )
        torch.set_num_threads(1)
        self._workers = ThreadPoolExecutor(threads if device.type == "cpu" else 1)
        # On a CPU group norm is several times slower in channels-last memory.
        self._memory = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        net = net.to(device, memory_format=self._memory)
        optimizer = Adam(net.parameters())
        ema = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.state = State(net, ema, optimizer, config.to_json(), data.classes)

    def start_from(self, start: ModelFile, path: Path) -> None:
        """Begins with the weights of a model file; the optimizer begins anew."""
        model_file.check_start(start, path, self.config, self.data.classes)
        try:
            self.state.net.load_state_dict(start.tensors)
        except RuntimeError as error:
            raise TrainError(f"{path}: {error}") from None
        for name, value in self.state.net.state_dict().items():
            self.state.ema[name].copy_(value)
        self.state.images_before = start.images_seen

    def resume(self, saved: Saved) -> None:
        restore(self.state, saved)

    def run(self, folder: Path, progress: Progress, stop: Callable[[], bool]) -> bool:
        """Trains until the configured number of images or `stop`; true if it got to the end.

        Leaves a checkpoint either way.
        """
        state, training = self.state, self.config.training
        saved_at = time.monotonic()
        finished = state.images >= training.images
        while not finished and not stop():
            began = time.monotonic()
            loss, norm = self.step()
            state.seconds += time.monotonic() - began
            finished = state.images >= training.images
            progress.step(state, loss, norm, self.learning_rate())
            if time.monotonic() - saved_at >= self.config.output.checkpoint_seconds:
                save(state, folder)
                progress.saved(state)
                saved_at = time.monotonic()
        save(state, folder)
        progress.saved(state)
        return finished

    def step(self) -> tuple[float, float]:
        """One batch. Returns the loss and the norm of its gradient before clipping."""
        state, training = self.state, self.config.training
        learning_rate = self.learning_rate()
        drawn = self.draw(state.step)
        # Added up in the order of the parts, whatever worker computed them.
        total = torch.zeros((), device=self.device)
        sums: list[Tensor] | None = None
        for loss, gradients in self._workers.map(
            lambda begin: self._part(drawn, begin), range(0, training.batch, self._micro_batch)
        ):
            total += loss
            if sums is None:
                sums = gradients
            else:
                torch._foreach_add_(sums, gradients)
        assert sums is not None
        state.optimizer.set_gradients(sums)
        norm = float(
            torch.nn.utils.clip_grad_norm_(state.optimizer.parameters, training.gradient_clip)
        )
        state.step += 1
        state.images += training.batch
        if math.isfinite(norm):
            state.optimizer.step(learning_rate)
            state.skipped_in_a_row = 0
            update_ema(state, training)
        else:
            state.skipped += 1
            state.skipped_in_a_row += 1
            if state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
                raise TrainError(
                    f"the gradient was not finite {MAX_SKIPPED_IN_A_ROW} steps in a row; "
                    "a lower training.learning_rate may help"
                )
        return float(total), norm

    def draw(self, step: int) -> Drawn:
        """The random numbers of a step, which depend on the seed and the step alone."""
        training = self.config.training
        generator = np.random.default_rng([training.seed, step])
        pictures, classes = self.data.batch(generator, training.batch)
        labels = None
        if self.data.classes:
            labels = functional.one_hot(classes, len(self.data.classes)).float()
            kept = generator.random(training.batch) >= training.label_dropout
            labels = labels * torch.from_numpy(kept).to(self.device)[:, None]
        log_sigma = generator.normal(training.p_mean, training.p_std, training.batch)
        sigma = torch.from_numpy(np.exp(log_sigma)).to(self.device, torch.float32)
        source = torch.Generator(self.device).manual_seed(int(generator.integers(2**62)))
        noise = torch.randn(pictures.shape, generator=source, device=self.device)
        pictures = pictures.float() / 127.5 - 1
        return Drawn(pictures, labels, sigma, noise, int(generator.integers(2**62)))

    def _part(self, drawn: Drawn, begin: int) -> tuple[Tensor, list[Tensor]]:
        """Contribution of a micro-batch to the loss and its gradient. In any thread."""
        part = slice(begin, begin + self._micro_batch)
        loss = self._loss(drawn, part).sum() / self.config.training.batch
        return loss.detach(), list(torch.autograd.grad(loss, self.state.optimizer.parameters))

    def _loss(self, drawn: Drawn, part: slice) -> Tensor:
        """Per image [b]; EDM equation 8 with the weight of Table 1, mean instead of sum."""
        pictures = drawn.pictures[part].contiguous(memory_format=self._memory)
        sigma = drawn.sigma[part]
        labels = None if drawn.labels is None else drawn.labels[part]
        noisy = pictures + sigma[:, None, None, None] * drawn.noise[part]
        lowers = self.config.training.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lowers):
            dropout = torch.Generator(self.device).manual_seed(drawn.dropout_seed + part.start)
            denoised = self.state.net(noisy, sigma, labels, dropout=dropout)
        data = self.config.model.sigma_data
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        return weight * (denoised - pictures).square().mean(dim=(1, 2, 3))

    def learning_rate(self) -> float:
        """Learning rate of the next step: linear warm-up, constant, linear cool-down to 0."""
        training, images = self.config.training, self.state.images
        rate = training.learning_rate
        if training.warmup_images:
            rate *= min(1.0, (images + training.batch) / training.warmup_images)
        if training.cooldown_images:
            rate *= min(1.0, max(0.0, (training.images - images) / training.cooldown_images))
        return rate


def ema_decay(training: TrainingConfig, images_seen: int) -> float:
    """Share of the average after a step: half after the half-life, which grows with the run."""
    half_life = min(training.ema_half_life, training.ema_ramp_up * images_seen)
    return 0.5 ** (training.batch / half_life) if half_life > 0 else 0.0


def update_ema(state: State, training: TrainingConfig) -> None:
    decay = ema_decay(training, state.images_seen)
    values = state.net.state_dict()
    torch._foreach_lerp_(
        [state.ema[name] for name in values], list(values.values()), 1.0 - decay
    )  # fmt: skip
