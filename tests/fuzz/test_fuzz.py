"""A short run of the harness, and that it finds what it is for."""

from pathlib import Path

import pytest

from tests.fuzz import harness
from tests.fuzz.subjects import Subject


def test_a_thousand_mutations_end_in_no_fault():
    tally = harness.run(mutations=1000, seed=5)
    assert tally.mutations == 1000
    assert tally.faults == []


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:1] == b"t":
        raise KeyError("missing")
    if content[:1] == b"u":
        raise ValueError("something is wrong")
    if content[:1] == b"c":
        harness.os._exit(3)
    return content


@pytest.mark.parametrize(
    ("first", "outcome"), [(b"t", "traceback"), (b"u", "unnamed"), (b"c", "crash"), (b"x", "silent")]
)
def test_every_kind_of_fault_is_counted(tmp_path, monkeypatch, first, outcome):
    subject = Subject("bytes", ".bin", b"whole", _read)
    monkeypatch.setattr(harness, "mutated", lambda content, rng: ("other", first + content))
    outcomes = [found for _, found, _, _ in harness._batch(subject, tmp_path, 0, range(3))]
    assert outcomes == ["same", outcome, outcome]
