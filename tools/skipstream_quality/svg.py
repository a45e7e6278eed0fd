"""Line charts as SVG, written by hand so that the same numbers always give the same file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#555555", "#ee7733")
_WIDTH, _HEIGHT = 380, 250  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 30, 42
_LEGEND_LINE = 18
_FONT = 'font-family="Helvetica, Arial, sans-serif"'


@dataclass(frozen=True)
class Series:
    """One line; points are sorted by the caller."""

    label: str
    points: Sequence[tuple[float, float]]
    # Half heights of the error bars, one a point; empty: none.
    errors: Sequence[float] = ()


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False
    # A dashed line across, such as what real images score.
    level: float | None = None
    level_label: str = ""


def draw(rows: Sequence[Sequence[Panel]]) -> str:
    """Panels in rows; one legend below, of the labels in order of appearance."""
    labels = list(dict.fromkeys(s.label for row in rows for panel in row for s in panel.series))
    colors = {label: _COLORS[i % len(_COLORS)] for i, label in enumerate(labels)}
    width = _WIDTH * max(len(row) for row in rows)
    per_line = max(1, width // 190)
    legend_height = _LEGEND_LINE * math.ceil(len(labels) / per_line) + 12
    height = _HEIGHT * len(rows) + legend_height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" {_FONT} font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for y, row in enumerate(rows):
        for x, panel in enumerate(row):
            parts.append(f'<g transform="translate({x * _WIDTH} {y * _HEIGHT})">')
            parts += _panel(panel, colors)
            parts.append("</g>")
    for i, label in enumerate(labels):
        x = 20 + 190 * (i % per_line)
        y = _HEIGHT * len(rows) + _LEGEND_LINE * (i // per_line) + 10
        parts.append(f'<path d="M{x} {y}h22" stroke="{colors[label]}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 28}" y="{y + 4}">{escape(label)}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _panel(panel: Panel, colors: dict[str, str]) -> list[str]:
    xs = [x for s in panel.series for x, _ in s.points]
    ys = [y for s in panel.series for _, y in s.points]
    if panel.level is not None:
        ys.append(panel.level)
    if not xs:
        return []
    to_x = _Scale(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT, panel.log_x)
    to_y = _Scale(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP, panel.log_y)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts = [
        f'<text x="{middle:.1f}" y="18" text-anchor="middle" font-weight="bold">'
        f"{escape(panel.title)}</text>",
        f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(panel.x_label)}</text>",
        f'<text transform="translate(13 {(_TOP + _HEIGHT - _BOTTOM) / 2:.1f}) rotate(-90)" '
        f'text-anchor="middle">{escape(panel.y_label)}</text>',
    ]
    for value in to_y.ticks():
        y = to_y(value)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>'
            f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in to_x.ticks():
        x = to_x(value)
        parts.append(
            f'<path d="M{x:.1f} {_HEIGHT - _BOTTOM}v4" stroke="#888888"/>'
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
        )
    if panel.level is not None:
        y = to_y(panel.level)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#000000" '
            f'stroke-dasharray="4 3"/><text x="{_WIDTH - _RIGHT - 3}" y="{y - 4:.1f}" '
            f'text-anchor="end">{escape(panel.level_label)}</text>'
        )
    for series in panel.series:
        color = colors[series.label]
        places = [(to_x(x), to_y(y)) for x, y in series.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in places]
        for (x, y), error in zip(series.points, series.errors, strict=False):
            low = max(y - error, to_y.low if panel.log_y else y - error)
            parts.append(
                f'<path d="M{to_x(x):.1f} {to_y(low):.1f}V{to_y(y + error):.1f}" stroke="{color}"/>'
            )
    return parts


class _Scale:
    """Values to places, with some room at both ends."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool) -> None:
        if log and low <= 0:
            raise ValueError("a logarithmic axis has no room for 0")
        self.low, self.high = low, high
        self._log = log
        a, b = self._value(low), self._value(high)
        room = 0.06 * (b - a) or 0.5
        self._a, self._b = a - room, b + room
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (self._value(value) - self._a) / (self._b - self._a)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values inside."""
        if self._log:
            decades = range(math.floor(self._a), math.ceil(self._b) + 1)
            steps = (1, 2, 5) if self._b - self._a < 2.5 else (1,)
            values = [step * 10.0**decade for decade in decades for step in steps]
        else:
            raw = (self._b - self._a) / 5
            size = 10.0 ** math.floor(math.log10(raw))
            step = next(s * size for s in (1, 2, 5, 10) if s * size >= raw)
            first, last = math.ceil(self._a / step), math.floor(self._b / step)
            values = [round(i * step, 10) for i in range(first, last + 1)]
        return [v for v in values if self._a <= self._value(v) <= self._b]

    def _value(self, value: float) -> float:
        return math.log10(value) if self._log else value
