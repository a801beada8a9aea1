"""The report's building blocks, and the one template that turns them into a self-contained HTML page."""

from collections import Counter
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
    title: str = ""
    """A few words before the caption, set apart."""


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
class Answers:
    """Figures in words: what was measured, its value, and a sentence on what it compares with."""

    kind: ClassVar[str] = "answers"
    rows: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class IntervalRow:
    """A difference with its interval and verdict; places on the scale are in percent of its width."""

    text: str
    """What is claimed."""
    detail: str
    """What was compared, and where."""
    verdict: str
    value: str
    """Mean and interval with unit, or why there is none."""
    low: float | None = None
    """Ends of the interval on the scale; None where nothing is measured."""
    mean: float = 0.0
    high: float = 0.0
    limit: float | None = None
    """What the interval has to lie above, where that is not 0."""


@dataclass(frozen=True)
class Intervals:
    """Differences that share one scale."""

    kind: ClassVar[str] = "intervals"
    title: str
    zero: float
    """Place of 0 on the scale."""
    low: str
    """Labels of the ends of the scale."""
    high: str
    rows: tuple[IntervalRow, ...]


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
    size: Literal["small", "plot", "strip"] = "plot"


@dataclass(frozen=True)
class Video:
    """A video inside the page."""

    kind: ClassVar[str] = "video"
    title: str
    src: str
    """Data URI, or the address of a file beside the page."""
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
    """Pictures in rows and columns; a row that is too long for the page is broken, never cut."""

    kind: ClassVar[str] = "gallery"
    title: str
    text: str
    columns: tuple[Column, ...]
    rows: tuple[GalleryRow, ...]

    def __post_init__(self) -> None:
        assert all(len(row.pictures) == len(self.columns) for row in self.rows), "one picture per column"

    @property
    def per_line(self) -> int:
        """Pictures side by side where the page is wide: lines of equal length, of at most `_PER_LINE`."""
        lines = -(-len(self.columns) // _PER_LINE)
        return -(-len(self.columns) // lines)


Block = Note | KeyValues | Answers | Intervals | TextTable | Figures | Video | Gallery
_PER_LINE = 12
_COUNTED = {"table": "table", "figures": "picture", "video": "video", "gallery": "gallery"}


@dataclass(frozen=True)
class Section:
    """A numbered part of the page."""

    name: str
    """Anchor."""
    title: str
    text: str
    blocks: tuple[Block, ...] = field(default=())
    folded: bool = False
    """Whether the section is folded when the page opens."""

    @property
    def content(self) -> str:
        """What is inside, counted, such as `2 tables, 3 pictures`."""
        counts: Counter[str] = Counter()
        for block in self.blocks:
            if block.kind in _COUNTED:
                counts[_COUNTED[block.kind]] += len(block.pictures) if isinstance(block, Figures) else 1
        return ", ".join(f"{count} {_plural(name, count)}" for name, count in counts.items())


def _plural(name: str, count: int) -> str:
    return name if count == 1 else "galleries" if name == "gallery" else f"{name}s"


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
