"""The report's building blocks, and the one template that turns them into a self-contained HTML page."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape


@dataclass(frozen=True)
class Picture:
    """An image inside the page."""

    src: str
    """Data URI."""
    alt: str
    """Description of the image, for those who cannot see it."""
    caption: str = ""
    """Text under it."""


@dataclass(frozen=True)
class Note:
    """A sentence in place of something that is missing."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class KeyValues:
    """Names and values, in two columns where there is room."""

    kind: ClassVar[str] = "key_values"
    rows: tuple[tuple[str, str], ...]
    title: str = ""


@dataclass(frozen=True)
class TextTable:
    """A table of text; cells that are a verdict are coloured."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    foot: tuple[str, ...] = ()
    """Last row, set apart."""


@dataclass(frozen=True)
class Figures:
    """Plots or sheets, each with its caption, as many side by side as their size leaves room for."""

    kind: ClassVar[str] = "figures"
    title: str
    pictures: tuple[Picture, ...]
    text: str = ""
    size: Literal["small", "plot", "strip", "wide"] = "plot"


@dataclass(frozen=True)
class Video:
    """A video inside the page."""

    kind: ClassVar[str] = "video"
    title: str
    src: str
    """Data URI."""
    caption: str


@dataclass(frozen=True)
class Column:
    """Heading of a gallery; `ramp` is the colour scale from `low` to `high`."""

    name: str
    ramp: str = ""
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class GalleryRow:
    """A row of pictures under its label; None leaves a cell empty."""

    label: str
    pictures: tuple[Picture | None, ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures in rows and columns."""

    kind: ClassVar[str] = "gallery"
    title: str
    text: str
    columns: tuple[Column, ...]
    rows: tuple[GalleryRow, ...]

    def __post_init__(self) -> None:
        assert all(len(row.pictures) == len(self.columns) for row in self.rows), "one picture per column"


Block = Note | KeyValues | TextTable | Figures | Video | Gallery


@dataclass(frozen=True)
class Section:
    """A numbered part of the page."""

    name: str
    """Anchor."""
    title: str
    text: str
    blocks: tuple[Block, ...] = field(default=())


def render_page(title: str, lead: str, sections: list[Section]) -> str:
    """The page as HTML: one file, no script, nothing loaded from elsewhere.

    What is not valid Unicode, as in names of old files, is shown as question marks.
    """
    page = template("report.html.j2").render(title=title, lead=lead, sections=sections)
    return page.encode("utf-8", "replace").decode()


def template(name: str) -> Template:
    """A template of this package; text that it shows is escaped."""
    environment = Environment(
        loader=PackageLoader("wildrayzer.report"),
        autoescape=select_autoescape(["html.j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
