"""Pure: bars with their spread, as SVG: small enough that a library would be longer to set up."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from bench.figures import Spread, number

# told apart in every form of colour blindness (Okabe and Ito)
_COLOURS = ("#0072b2", "#56b4e9", "#e69f00", "#999999")
_WIDTH, _LEFT, _RIGHT, _TOP, _BAR, _GAP = 900, 160, 130, 64, 13, 12


def bars(title: str, groups: Mapping[str, Mapping[str, Spread | None]], series: Sequence[str]) -> str:
    """Draw one bar for each series in each group: its median, a line from the least to the greatest, and the number.

    Args:
        title: what the bars are, with the unit.
        groups: group to series to figure; None: not measured.
        series: their order, and thereby colour.
    """
    known = [value for group in groups.values() for value in group.values() if value]
    most = max((value.high for value in known), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    height = _TOP + len(groups) * (len(series) * _BAR + _GAP)
    svg = ET.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        attrib={"font-family": "sans-serif", "font-size": "11", "role": "img"},
    )
    ET.SubElement(svg, "title").text = title
    ET.SubElement(svg, "rect", width="100%", height="100%", fill="white")
    _write(svg, _GAP, 20, title, size="15")
    at = float(_LEFT)
    for name, colour in zip(series, _COLOURS, strict=False):
        _rectangle(svg, at, 34, 11, 11, colour)
        _write(svg, at + 16, 44, name)
        at += 130
    y = float(_TOP)
    for label, group in groups.items():
        _write(svg, _LEFT - 8, y + len(series) * _BAR / 2 + 4, label, anchor="end")
        for name, colour in zip(series, _COLOURS, strict=False):
            if value := group.get(name):
                _bar(svg, y, value, scale, colour)
            else:
                _write(svg, _LEFT + 4, y + _BAR - 3, "-")
            y += _BAR
        y += _GAP
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _bar(svg: ET.Element, y: float, value: Spread, scale: float, colour: str) -> None:
    _rectangle(svg, _LEFT, y, value.median * scale, _BAR - 2, colour)
    middle = f"{y + (_BAR - 2) / 2:.1f}"
    low, high = (f"{_LEFT + end * scale:.1f}" for end in (value.low, value.high))
    ET.SubElement(svg, "line", x1=low, x2=high, y1=middle, y2=middle, stroke="black")
    _write(svg, _LEFT + max(value.high, value.median) * scale + 5, y + _BAR - 3, number(value.median))


def _rectangle(svg: ET.Element, x: float, y: float, width: float, height: float, fill: str) -> None:
    ET.SubElement(svg, "rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}", fill=fill)


def _write(svg: ET.Element, x: float, y: float, text: str, *, size: str = "11", anchor: str = "start") -> None:
    place = {"font-size": size, "text-anchor": anchor}
    ET.SubElement(svg, "text", x=f"{x:.1f}", y=f"{y:.1f}", attrib=place).text = text
