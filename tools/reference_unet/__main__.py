"""Makes and checks parity fixtures.

PYTHONPATH=tools .venv/bin/python -m reference_unet make            # those in tests/data/reference
PYTHONPATH=tools .venv/bin/python -m reference_unet random 20 DIR   # 20 others, all different
PYTHONPATH=tools .venv/bin/python -m reference_unet check FILE...   # how far each is from it
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from reference_unet.fixtures import check, make
from reference_unet.unet import Config

REFERENCE = Path(__file__).resolve().parents[2] / "tests/data/reference"

# Options that the fixtures of the published networks do not cover.
VARIANTS: dict[str, tuple[str, Config]] = {
    "variant-song-ve-skip": (
        "VEPrecond",
        {
            "img_resolution": 16, "img_channels": 3, "label_dim": 0, "model_type": "SongUNet",
            "model_channels": 8, "channel_mult": [1, 3, 2], "num_blocks": 1,
            "attn_resolutions": [8], "embedding_type": "fourier", "channel_mult_noise": 2,
            "encoder_type": "skip", "decoder_type": "skip", "resample_filter": [1, 3, 3, 1],
        },
    ),
    "variant-song-edm-residual": (
        "EDMPrecond",
        {
            "img_resolution": 16, "img_channels": 2, "label_dim": 3, "augment_dim": 9,
            "model_type": "SongUNet", "model_channels": 12, "channel_mult": [2, 1],
            "num_blocks": 2, "attn_resolutions": [16, 8], "channel_mult_noise": 2,
            "encoder_type": "residual", "resample_filter": [1, 4, 6, 6, 4, 1], "sigma_data": 0.7,
        },
    ),
    "variant-adm-iddpm": (
        "iDDPMPrecond",
        {
            "img_resolution": 16, "img_channels": 3, "label_dim": 5, "augment_dim": 4,
            "model_type": "DhariwalUNet", "model_channels": 16, "channel_mult": [1, 2, 1],
            "num_blocks": 1, "attn_resolutions": [8],
        },
    ),
    "variant-adm-cm": (
        "CMPrecond",
        {
            "img_resolution": 8, "img_channels": 1, "label_dim": 0, "model_type": "DhariwalUNet",
            "model_channels": 8, "channel_mult": [3, 5], "num_blocks": 1,
            "attn_resolutions": [8, 4], "channel_mult_emb": 2, "label_dropout": 0.1,
            "use_fp16": True,
        },
    ),
}  # fmt: skip


def random_variant(draw: random.Random) -> tuple[str, Config]:
    """Any family with any preconditioning, narrow."""
    preconditioning = draw.choice(
        ["EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond", "CMPrecond"]
    )
    levels = draw.randint(1, 4)
    resolution = draw.choice([1, 2, 3, 4]) << (levels - 1)
    dhariwal = draw.random() < 0.4
    config: Config = {
        "img_resolution": resolution,
        "img_channels": draw.randint(1, 4),
        "label_dim": draw.choice([0, 1, 6]),
        "augment_dim": draw.choice([0, 9]),
        "model_type": "DhariwalUNet" if dhariwal else "SongUNet",
        # Sums of a few of these still split into even groups.
        "model_channels": draw.choice([32, 64, 96] if dhariwal else [4, 8, 16, 20]),
        "channel_mult": [draw.randint(1, 2 if dhariwal else 3) for _ in range(levels)],
        "channel_mult_emb": draw.choice([1, 4]),
        "num_blocks": draw.randint(1, 2),
        "attn_resolutions": [resolution >> i for i in range(levels) if draw.random() < 0.5],
    }
    if not dhariwal:
        config |= {
            "embedding_type": draw.choice(["positional", "fourier"]),
            "channel_mult_noise": draw.choice([1, 2]),
            "encoder_type": draw.choice(["standard", "skip", "residual"]),
            "decoder_type": draw.choice(["standard", "skip"]),
            "resample_filter": draw.choice([[1, 1], [1, 3], [1, 3, 3, 1]]),
        }
    return preconditioning, config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make")
    some = commands.add_parser("random")
    some.add_argument("count", type=int)
    some.add_argument("folder", type=Path)
    some.add_argument("--seed", type=int, default=1)
    commands.add_parser("check").add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()

    if args.command == "make":
        for seed, (name, (preconditioning, config)) in enumerate(VARIANTS.items()):
            make(preconditioning, config, seed, REFERENCE / f"{name}.safetensors")
    elif args.command == "random":
        draw = random.Random(args.seed)
        for i in range(args.count):
            preconditioning, config = random_variant(draw)
            make(preconditioning, config, args.seed + i, args.folder / f"random{i}.safetensors")
    else:
        for path in args.files:
            print(path)
            for name, error in sorted(check(path).items()):
                print(f"  {name:20} {error:.3g}")


if __name__ == "__main__":
    main()
