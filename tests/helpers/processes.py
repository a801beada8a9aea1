"""Processes for tests that are killed, limited, or fork their own, as a job of the workflow does.

They are forked from a server that has only imported modules. The process of a test has threads: of OpenCV, Zarr, torch.
They do not survive a fork, and OpenCV, for one, waits for its lost threads for ever when their number is set.
Monkeypatches of the test do not reach these processes, and what they run must be a function of a module.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")
APART = multiprocessing.get_context("forkserver")
APART.set_forkserver_preload(
    ["pytest", "torch", "wildrayzer.stages.prepare", "wildrayzer.report.page.contact_sheets", "tests.data.test_readers"]
)
LONG = 600
"""Seconds that no healthy process needs, on slow machines either."""


def run_apart(function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Result or error of a function that runs in a process of its own."""
    with ProcessPoolExecutor(1, APART) as pool:
        return pool.submit(function, *arguments, **options).result(LONG)
