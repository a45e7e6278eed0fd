"""tools/convert: the command."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skipstream_files import say

from skipstream_convert.checkpoint import FORMATS, convert, mapped, sha256
from skipstream_convert.config import PRECONDITIONERS
from skipstream_convert.consistency import QKV_LAYOUTS
from skipstream_convert.conversion import Conversion, Options
from skipstream_convert.errors import ConvertError, quoted
from skipstream_convert.model_file import write_model_file

_MAX_CLASSES_BYTES = 1 << 20
_MAX_CLASS_NAME_BYTES = 256
_MAX_LICENSE_BYTES = 64 << 10
_SUFFIX = ".safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        say(run(args))
    except (ConvertError, OSError) as error:
        return _refused(args.input, str(error))
    except MemoryError:
        return _refused(args.input, "needs more memory than there is")
    return 0


def _refused(path: Path, reason: str) -> int:
    say(f"tools/convert: {path}: {reason}", errors=True)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/convert",
        description="Makes a Skipstream model file of a checkpoint; executes nothing from it.",
        epilog="docs/models.md shows a command for each published kind of checkpoint.",
    )
    parser.add_argument("input", type=Path, metavar="INPUT", help="checkpoint: .pkl, .pt, .bin")
    parser.add_argument("output", type=Path, metavar="OUTPUT.safetensors")
    parser.add_argument(
        "--format", choices=FORMATS, default="auto", help="default: what it looks like"
    )
    parser.add_argument(
        "--network",
        metavar="NAME",
        help="which network of the file: key of an EDM snapshot (default ema), key or prefix in a "
        "state_dict (default: the only one)",
    )
    parser.add_argument(
        "--preconditioning",
        choices=tuple(PRECONDITIONERS),
        help="required for a state_dict; CMPrecond by default for consistency models",
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        type=_config_item,
        metavar="KEY=JSON",
        help="a constructor argument the file does not say, or says wrong; may be repeated",
    )
    parser.add_argument(
        "--resolution", type=int, metavar="N", help="pixels a side, where not in the file"
    )
    parser.add_argument(
        "--qkv_layout",
        choices=QKV_LAYOUTS,
        default="flash",
        help="order of attention channels in consistency models (default flash, as published; "
        "legacy: trained with guided-diffusion's own attention)",
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE.json", help="JSON list of class names"
    )
    parser.add_argument("--license", metavar="TEXT", help="the licence of the weights")
    parser.add_argument("--force", action="store_true", help="replace OUTPUT if it exists")
    return parser


def _config_item(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=JSON")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{key}: the value is not JSON: {error}") from None


def run(args: argparse.Namespace) -> str:
    """Converts; returns what there is to say about it."""
    if args.output.suffix != _SUFFIX:
        raise ConvertError(f"the output {args.output} must end in {_SUFFIX}")
    if args.output.exists() and not args.force:
        raise ConvertError(f"{args.output} exists; --force replaces it")
    license_text = args.license or ""
    license_bytes = _utf8_bytes(license_text)
    if license_bytes is None:
        raise ConvertError("--license is not UTF-8")
    if license_bytes > _MAX_LICENSE_BYTES:
        raise ConvertError(f"--license is longer than {_MAX_LICENSE_BYTES} bytes")
    options = Options(
        network=args.network,
        preconditioning=args.preconditioning,
        config=dict(args.config),
        resolution=args.resolution,
        qkv_layout=args.qkv_layout,
    )
    with mapped(args.input) as data:
        conversion = convert(data, args.format, options)
        classes = None
        if args.classes is not None:
            classes = read_classes(args.classes, conversion.network.config["label_dim"])
        metadata = _metadata(conversion, classes, license_text)
        metadata |= {"source": _shown(Path(args.input.name)), "source_sha256": sha256(data)}
        write_model_file(args.output, conversion.tensors, metadata, force=args.force)
    return _summary(args.output, conversion, classes, license_text)


def _utf8_bytes(text: str) -> int | None:
    """Its length in UTF-8; none if it cannot be written so (half a surrogate pair)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def _shown(path: Path) -> str:
    """A path as text, whatever its bytes are."""
    return os.fsencode(path).decode(errors="replace")


def read_classes(path: Path, label_dim: int) -> list[str]:
    with path.open("rb") as file:
        text = file.read(_MAX_CLASSES_BYTES + 1)
    if len(text) > _MAX_CLASSES_BYTES:
        raise ConvertError(f"{path}: longer than {_MAX_CLASSES_BYTES} bytes")
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        raise ConvertError(f"{path}: not JSON") from None
    if not isinstance(names, list) or len(names) != label_dim:
        has = len(names) if isinstance(names, list) else f"a {type(names).__name__}"
        raise ConvertError(f"{path}: must be a list of {label_dim} names, one per class; has {has}")
    seen = set()
    for index, name in enumerate(names):
        length = _utf8_bytes(name) if isinstance(name, str) else None
        if length is None or not 1 <= length <= _MAX_CLASS_NAME_BYTES:
            raise ConvertError(
                f"{path}[{index}]: must be a name of 1 to {_MAX_CLASS_NAME_BYTES} bytes"
            )
        if name in seen:
            raise ConvertError(f"{path}[{index}]: repeats {quoted(name)}")
        seen.add(name)
    return names


def _metadata(
    conversion: Conversion, classes: list[str] | None, license_text: str
) -> dict[str, str]:
    metadata = {
        "preconditioning": conversion.network.preconditioning,
        "config": json.dumps(dict(conversion.network.config), allow_nan=False),
        "config_origin": conversion.config_origin,
        "source_format": conversion.kind,
    }
    if classes is not None:
        # No longer than the file was, which is as long as the server reads.
        metadata["classes"] = json.dumps(classes, ensure_ascii=False, separators=(",", ":"))
    if license_text:
        metadata["license"] = license_text
    return metadata


def _summary(
    path: Path, conversion: Conversion, classes: list[str] | None, license_text: str
) -> str:
    network = conversion.network
    config: Mapping[str, Any] = network.config
    size = f"{config['img_resolution']}x{config['img_resolution']}"
    count = conversion.parameter_count
    label_dim = config["label_dim"]
    lines = [
        f"wrote {_shown(path)}",
        f"  network     {network.preconditioning}, {network.model_type}, {size}, "
        f"{config['img_channels']} channels",
        f"  parameters  {count} ({count / 1e6:.1f} M)",
        f"  skips       K = {network.num_skips}",
        f"  classes     {label_dim or 'none (unconditional)'}"
        + ("" if not label_dim else ", named" if classes else ", without names"),
        f"  config      {conversion.config_origin}",
        f"  license     {license_text or 'not stated (--license)'}",
    ]
    return "\n".join([*lines, *(f"  note        {note}" for note in conversion.notes)])
