"""The table of sources, and the findings of a check, as text."""

from collections.abc import Iterable

from wildrayzer.datasets.check import Finding
from wildrayzer.datasets.table import Part, Source, SourceTable


def describe_sources(table: SourceTable) -> str:
    """All sources, one paragraph each."""
    return "\n\n".join(_describe(name, source) for name, source in table.sources.items())


def _describe(name: str, source: Source) -> str:
    size = source.download_bytes
    fields = {
        "home": source.home,
        "version": source.version or (source.hub.revision if source.hub else None) or "not stated",
        "licence": source.licence or "not stated",
        "accept": source.accept,
        "token": "HF_TOKEN is needed" if source.gated else None,
        "download": source.provide and f"none: {source.provide}",
        "size": None if source.provide else "not published" if size is None else _bytes(size),
        "notes": source.notes,
    }
    lines = [f"{name}: {source.title}"]
    lines += [f"  {key:<9}{value}" for key, value in fields.items() if value]
    return "\n".join(
        lines + [f"  part     {source.place(part)}{_counts(entry)}" for part, entry in source.parts.items()]
    )


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"


def _counts(part: Part) -> str:
    counts = [f"{value:,} {word}" for word, value in (("scenes", part.scenes), ("frames", part.frames)) if value]
    return f" ({', '.join(counts)})" if counts else ""


def describe_findings(findings: Iterable[Finding]) -> str:
    """A table of the findings, followed by what to do about each miss."""
    from tabulate import tabulate

    findings = list(findings)
    rows = [[finding.state, finding.option, finding.what, finding.found] for finding in findings]
    text = [tabulate(rows, headers=["state", "option", "path", "found"], tablefmt="simple", disable_numparse=True)]
    for state, heading in (("miss", "What to do:"), ("to fetch", "What will be fetched:")):
        lines = [f"  {finding.option}: {finding.fix}" for finding in findings if finding.state == state]
        text += ["", heading, *lines] if lines else []
    missed = sum(finding.state == "miss" for finding in findings)
    return "\n".join([*text, "", f"{missed} of {len(findings)} checks missed" if missed else "Nothing is missing."])
