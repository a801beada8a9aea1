"""Every shape annotation of the package is checked while the tests run; fixtures that several files share."""

import pytest
from jaxtyping import install_import_hook

hook = install_import_hook("wildrayzer", "beartype.beartype")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Modules with slow tests come first; with `--dist loadgroup`, tests that share a fixture run in one process."""
    slow = {item.module for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.module not in slow)
    for item in items:
        group = "finished" if "finished" in item.fixturenames else item.module.__name__
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="module")
def one_thread():
    """A module's tests on one thread of torch: their networks are too small for more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Folder of a tiny run of the whole workflow; tests that change it take a copy."""
    from tests.test_workflow import snakemake

    folder = tmp_path_factory.mktemp("run")
    snakemake(folder, "--", "all")
    return folder
