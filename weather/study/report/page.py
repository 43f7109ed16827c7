"""The page: one HTML file that holds its figures and tables, and asks no network for anything."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from weather.errors import ConfigError
from weather.study.report.parts import Drawing, Part, Sheet
from weather.study.report.style import embedded
from weather.study.report.summary import Summary

TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class Heading:
    """What stands above the page.

    Attributes:
        figures: (value, what it is), the study in a few numbers.
    """

    title: str
    subtitle: str
    figures: tuple[tuple[str, str], ...]


def render(heading: Heading, summary: Summary, parts: list[Part]) -> str:
    """The HTML text; every value is escaped.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError(
            "the report needs jinja2", rule="it is part of the extra 'study'", fix="pip install 'weather[study]'"
        ) from error
    environment = Environment(
        loader=PackageLoader("weather.study.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"image": _image, "csv_link": _csv_link}
    return environment.get_template(TEMPLATE).render(heading=heading, summary=summary, parts=parts)


def _image(drawing: Drawing) -> str:
    """A data URI."""
    kind, content = embedded(drawing.figure)
    return _data_uri(kind, content)


def _csv_link(table: Drawing | Sheet) -> str:
    """A data URI, so that the numbers travel with the page."""
    return _data_uri("text/csv", table.csv().encode())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
