"""Writes what the fuzz targets start from: valid requests, model files and images, small.

usage: seeds.py FOLDER, which gets a folder for each target.
"""

from __future__ import annotations

import io
import json
import struct
import sys
from pathlib import Path

from google.protobuf import text_format
from PIL import Image
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb

# For the models of tests/testing/test_models.h.
REQUESTS = [
    "",
    "count: 2 sampler { nfe: 9 } skip_tuning { rho: 0.9 }",
    "model: 'grey' seeds: 1 seeds: 2 sampler { solver: SOLVER_EULER nfe: 5 }",
    "model: 'stepped' sampler { solver: SOLVER_DPMPP_2M } output { format: IMAGE_FORMAT_WEBP }",
    "model: 'distilled' sampler { solver: SOLVER_CONSISTENCY nfe: 2 }",
    "model: 'dropout' classes { name: 'apple' } guidance { scale: 2 sigma_hi: 40 }",
    "priority: PRIORITY_HIGH sampler { nfe: 3 linear {} } output { format: IMAGE_FORMAT_RAW }",
    "classes { index: 3 } skip_tuning { explicit_rho { rho: [1, 0.9, 0.8, 1.1] } }",
    "skip_tuning { rho: 0.8 noise { window { sigma_lo: 1 sigma_hi: 10 } } }",
    "skip_tuning { rho: 0.8 noise { knots { knots { sigma: 1 strength: 1 } } } }",
    "sampler { explicit_levels { sigmas: [80, 5, 0.1] } solver: SOLVER_EULER }",
    "skip_tuning { preset: 'default' } output { scale: 2 preview_every: 3 }",
    "sampler { solver: SOLVER_HEUN nfe: 9 churn { s_churn: 10 } }",
    "sampler { solver: SOLVER_EULER nfe: 6 exponential {} final_step: FINAL_STEP_SIGMA_MIN }",
    "sampler { solver: SOLVER_EULER_ANCESTRAL nfe: 6 vp {} step_noise { eta: 0.5 } }",
    "model: 'dropout' guidance { scale: 3 guide_model: 'fruit' } sampler { nfe: 5 ve {} }",
    "sampler { solver: SOLVER_UNIPC nfe: 8 unipc { order: 3 } }",
]

CONFIG = {
    "img_resolution": 4,
    "img_channels": 3,
    "label_dim": 0,
    "model_channels": 4,
    "channel_mult": [1],
    "num_blocks": 1,
    "attn_resolutions": [],
}


def requests() -> list[bytes]:
    seeds = []
    for text in REQUESTS:
        try:
            request = text_format.Parse(text, pb.GenerateRequest())
        except text_format.ParseError as error:
            sys.exit(f"{text}: {error}")
        seeds.append(request.SerializeToString(deterministic=True))
    raw = pb.GenerateRequest()
    raw.input_image.picture = bytes(range(48))
    raw.input_image.mask = bytes(16)
    png = pb.GenerateRequest()
    png.input_image.picture = image("PNG", "RGB", (4, 4))
    png.input_image.strength = 0.5
    return [*seeds, raw.SerializeToString(), png.SerializeToString()]


def safetensors(header: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def model_files() -> list[bytes]:
    tensors = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F16", "shape": [2, 1], "data_offsets": [8, 12]},
    }
    preset = {"name": "default", "nfe": 9, "rho": 1.05, "noise": {"window": [5, 80]}}
    metadata = {
        "preconditioning": "EDMPrecond",
        "config": json.dumps(CONFIG),
        "classes": "[]",
        "skip_tuning": json.dumps({"presets": [preset]}),
        "license": "none",
    }
    adm = CONFIG | {"model_type": "DhariwalUNet"}
    return [
        safetensors({}, b""),
        safetensors(tensors, bytes(12)),
        safetensors({"__metadata__": metadata, **tensors}, bytes(12)),
        safetensors({"__metadata__": metadata | {"config": json.dumps(adm)}}, b""),
        safetensors({"__metadata__": metadata | {"preconditioning": "VPPrecond"}}, b""),
        safetensors({"__metadata__": metadata | {"preconditioning": "iDDPMPrecond"}}, b""),
    ]


def image(kind: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(out, kind, **options)
    return out.getvalue()


def images() -> list[bytes]:
    seeds = [bytes([0]) + bytes(48), bytes([3, 77])]
    for shape, size in enumerate([(4, 4), (8, 4), (32, 32), (1, 1)]):
        twice = (2 * size[0], 2 * size[1])
        for mode in ("L", "RGB", "RGBA", "P", "1", "LA", "I;16"):
            seeds.append(bytes([shape]) + image("PNG", mode, twice))
        seeds.append(bytes([shape]) + image("WEBP", "RGB", size, lossless=True))
        seeds.append(bytes([shape]) + image("WEBP", "RGBA", twice))
        exif = Image.Exif()
        exif[0x112] = 6
        for kind in ("PNG", "WEBP"):
            seeds.append(bytes([shape]) + image(kind, "RGB", size[::-1], exif=exif))
    return seeds


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = {"request": requests(), "safetensors": model_files(), "image": images()}
    for target, inputs in seeds.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for i, data in enumerate(inputs):
            (folder / target / f"seed-{i:02}").write_bytes(data)


if __name__ == "__main__":
    main()
