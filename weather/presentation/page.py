"""The page: one HTML file that holds its figures and tables, and asks no network for anything."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from weather.errors import ConfigError
from weather.presentation.parts import Drawing, Part, Sheet
from weather.presentation.style import embedded

BASE = "weather.presentation"  # the package that holds page.html.jinja, which every template extends


@dataclass(frozen=True)
class Heading:
    """What stands above the page.

    Attributes:
        figures: (value, what it is), the whole in a few numbers.
    """

    title: str
    subtitle: str
    figures: tuple[tuple[str, str], ...]


def render(package: str, template: str, heading: Heading, parts: list[Part], **values: Any) -> str:
    """The HTML text; every value is escaped.

    Args:
        package, template: where the template lies that extends ``page.html.jinja``, and its name.
        values: what that template shows besides.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    try:
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError(
            "the page needs jinja2", rule="it is of the extras 'plot' and 'study'", fix="pip install -e '.[plot]'"
        ) from error
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader(BASE, ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"image": _image, "csv_link": _csv_link}
    return environment.get_template(template).render(heading=heading, parts=parts, **values)


def _image(drawing: Drawing) -> str:
    """A data URI."""
    kind, content = ("image/png", drawing.drawn) if drawing.drawn else embedded(drawing.figure)
    return _data_uri(kind, content)


def _csv_link(table: Drawing | Sheet) -> str:
    """A data URI, so that the numbers travel with the page."""
    return _data_uri("text/csv", table.csv().encode())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
