"""Contact sheets: rows of images, enlarged, under each other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from skipstream_files import write

from skipstream_quality.service import Pictures

_SCALE = 3
_GAP = 4
_BACKGROUND = 255


def write_sheet(file: Path, rows: Sequence[Pictures]) -> None:
    """Rows of the same number of images [N, H, W, 3]; enlarged without smoothing, as PNG."""
    count, height, width, _ = rows[0].shape
    high, wide = height * _SCALE + _GAP, width * _SCALE + _GAP
    canvas = np.full((len(rows) * high + _GAP, count * wide + _GAP, 3), _BACKGROUND, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = _GAP + y * high, _GAP + x * wide
            large = picture.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
            canvas[top : top + height * _SCALE, left : left + width * _SCALE] = large
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "PNG", optimize=True)
    write(file, out.getvalue())
