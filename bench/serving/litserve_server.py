"""The default model in PyTorch behind LitServe, with its dynamic batching.

litserve_server.py PORT MAX_BATCH. Requests of a batch that are equal (NFE, rho) are sampled
together, the others after them, as a batched pipeline does.
"""

import base64
import itertools
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools")]

import litserve  # noqa: E402
import torch  # noqa: E402
from skipstream_train import model_file  # noqa: E402
from skipstream_train.unet import Denoiser  # noqa: E402

SIGMA_MIN, SIGMA_MAX, EXPONENT = 0.002, 80.0, 7.0


def levels(nfe: int) -> list[float]:
    """Karras's noise levels for Heun with this many evaluations, 0 at the end."""
    steps = (nfe + 1) // 2
    low, high = SIGMA_MIN ** (1 / EXPONENT), SIGMA_MAX ** (1 / EXPONENT)
    return [(high + i / max(1, steps - 1) * (low - high)) ** EXPONENT for i in range(steps)] + [0.0]


def sample(net: Denoiser, requests: list[dict[str, Any]]) -> torch.Tensor:
    """Heun's method (EDM, Algorithm 1) for requests of one NFE and rho; [B, 3, H, W] in -1 to 1."""
    config = net.config
    size = (config.img_channels, config.img_resolution, config.img_resolution)
    noise = [
        torch.randn(size, generator=torch.Generator().manual_seed(r["seed"])) for r in requests
    ]
    labels = torch.eye(config.label_dim)[[r["class_index"] for r in requests]]
    rho = torch.full((len(requests), config.num_skips), float(requests[0]["rho"]))

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net(x, torch.full((len(requests),), sigma), labels, rho)

    schedule = levels(requests[0]["nfe"])
    x = torch.stack(noise) * schedule[0]
    for sigma, following in itertools.pairwise(schedule):
        slope = (x - denoise(x, sigma)) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            slope = (slope + (ahead - denoise(ahead, following)) / following) / 2
            ahead = x + (following - sigma) * slope
        x = ahead
    return x


class Api(litserve.LitAPI):
    """One image a request."""

    def setup(self, device: str) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        self.net = model_file.denoiser_of(model_file.read(ROOT / "model/zoo/nouns32.safetensors"))

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return inputs

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def predict(self, requests: list[dict[str, Any]]) -> list[bytes]:
        made: list[bytes] = [b""] * len(requests)
        groups: dict[tuple[int, float], list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault((request["nfe"], request["rho"]), []).append(i)
        with torch.inference_mode():
            for indexes in groups.values():
                images = sample(self.net, [requests[i] for i in indexes])
                pixels = (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
                for i, image in zip(indexes, pixels, strict=True):
                    made[i] = image.permute(1, 2, 0).contiguous().numpy().tobytes()
        return made

    def encode_response(self, output: bytes) -> dict[str, str]:
        return {"pixels": base64.b64encode(output).decode()}


if __name__ == "__main__":
    port, max_batch = int(sys.argv[1]), int(sys.argv[2])
    server = litserve.LitServer(
        Api(max_batch_size=max_batch, batch_timeout=0.01),
        accelerator="cpu",
        workers_per_device=1,
        timeout=False,
    )
    server.run(port=port, host="127.0.0.1", generate_client_file=False, log_level="warning")
