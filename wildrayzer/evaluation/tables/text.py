"""Tables as Markdown, written and read back, as LaTeX, and on the terminal."""

import os
import re
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from wildrayzer.config import RunConfig
from wildrayzer.evaluation.tables.files import read_summary
from wildrayzer.evaluation.tables.highlights import RunHighlights
from wildrayzer.evaluation.tables.rows import Table
from wildrayzer.evaluation.tables.tables import TableContext, Tables
from wildrayzer.run.layout import RunLayout

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "†": r"$\dagger$", "²": r"\textsuperscript{2}", "ˢ": r"\textsuperscript{s}", "Σ": r"$\Sigma$", "σ": r"$\sigma$",
    "Î": r"$\hat{I}$", "×": r"$\times$", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$", "±": r"$\pm$",
}  # fmt: skip
_CELL = re.compile(r"(?<!\\)\|")
VERDICT_STYLES = {"holds": "green", "does not hold": "red", "undecided": "yellow", "not scored": "dim"}
_LISTED = 3
"""Failed claims that the summary names."""
PIPED_WIDTH = 160
"""Columns of the tables in a file or pipe, which has no width of its own."""


def preamble(context: TableContext) -> list[str]:
    """What stands over the tables: run, backbone, perceptual loss and every deviation from the paper."""
    deviations = "; ".join(context.deviations) or "none"
    return [
        f"Run {context.run}. Feature backbone: {context.backbone}. Perceptual loss: {context.perceptual}.",
        f"Differs from the paper: {deviations}.",
    ]


def markdown(tables: Tables) -> str:
    """All tables as one Markdown text."""
    parts = ["# Benchmark tables", *preamble(tables.context)]
    for table in tables.tables:
        parts += [f"## {table.title}", *([table.head] if table.head else []), _markdown_table(table)]
        if table.notes:
            parts.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    rows = [table.columns, ("---",) * len(table.columns), *table.rows]
    return "\n".join("| " + " | ".join(text.replace("|", r"\|") for text in row) + " |" for row in rows)


def parse_tables(text: str) -> tuple[Table, ...]:
    """The tables of a `tables.md`, with their titles and notes.

    Raises:
        ValueError: a part of the text is no table.
    """
    tables = []
    for part in text.split("\n## ")[1:]:
        title, *lines = part.splitlines()
        grid = [_cells(line) for line in lines if line.startswith("|")]
        if len(grid) < 2 or any(len(row) != len(grid[0]) for row in grid):
            raise ValueError(f"tables.md: {title!r} is no table; run the stage benchmark_tables again")
        notes = tuple(line.removeprefix("- ") for line in lines if line.startswith("- "))
        head = " ".join(line for line in lines if line and not line.startswith(("|", "- ")))
        name = "claims" if title.startswith("Claims") else re.sub(r"\W+", "_", title.partition(".")[0]).lower()
        tables.append(Table(name, title, grid[0], tuple(grid[2:]), notes, head))
    return tuple(tables)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().replace(r"\|", "|") for cell in _CELL.split(line)[1:-1])


def read_tables(config: RunConfig, layout: RunLayout) -> Tables:
    """The tables of a run, from its tables folder.

    Raises:
        ValueError: there are none yet, or they are damaged.
    """
    folder = Path(layout.tables)
    for name in ("tables.md", "summary.csv"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} has no {name}; run the stage benchmark_tables first (`make demo` does)")
    parsed = parse_tables((folder / "tables.md").read_text(encoding="utf-8"))
    return Tables(TableContext.from_config(config), parsed, read_summary(folder))


def latex(tables: Tables) -> str:
    """All tables as LaTeX (needs booktabs), to be included with `\\input`."""
    head = [f"% {line}" for line in preamble(tables.context)]
    return "\n".join([*head, *(_latex_table(table) for table in tables.tables)]) + "\n"


def _latex_table(table: Table) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return " & ".join(_escape(text) for text in cells) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_escape(' '.join([table.title, table.head, *table.notes]))}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
            r"\toprule",
            line(table.columns),
            r"\midrule",
            *(line(row) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def table_console() -> Console:
    """The terminal, or a file or pipe that is wide enough for the tables; `COLUMNS` overrules its width."""
    console = Console()
    wide = console.is_terminal or "COLUMNS" in os.environ
    return console if wide else Console(width=PIPED_WIDTH)


def print_tables(tables: Tables, console: Console | None = None) -> None:
    """Show all tables on the terminal, the claims coloured by verdict."""
    console = console or table_console()
    for line in preamble(tables.context):
        console.print(line, style="dim", markup=False)
    for table in tables.tables:
        shown = RichTable(title=table.title, title_justify="left", show_lines=table.name == "claims")
        for column in table.columns:
            shown.add_column(column, overflow="fold")
        for row in table.rows:
            style = next((VERDICT_STYLES[text] for text in row if text in VERDICT_STYLES), None)
            shown.add_row(*(text.replace("[", r"\[") for text in row), style=style)
        if table.head:
            console.print(table.head, style="dim", markup=False)
        console.print(shown)
        for note in table.notes:
            console.print(note, style="dim", markup=False)


def summary_lines(shown: RunHighlights, config: RunConfig) -> list[str]:
    """What a run has shown, as sentences: its figures with their controls, and what did not hold."""
    what = "A renderer learned from clips in which nothing moves"
    if not config.trains:
        what = "Nothing was trained; checkpoints and renderings from elsewhere were scored"
    if config.learns_motion:
        what += "; what it fails to render marked what moves; a second renderer leaves that out"
    failed = "; ".join(shown.verdicts.failed[:_LISTED])
    more = len(shown.verdicts.failed) - _LISTED
    return [
        f"Run {config.name}. {what}. On held-out clips:",
        *(f"  - {highlight.sentence}" for highlight in shown.figures),
        shown.verdicts.sentence,
        f"Did not hold: {failed}{f'; and {more} more' if more > 0 else ''}." if failed else "No claim failed.",
        *filter(None, [shown.verdicts.untested_sentence]),
    ]
