"""Every shape annotation of the package is checked while the tests run; fixtures that several files share."""

import pytest
from jaxtyping import install_import_hook
from xdist.scheduler import LoadScopeScheduling

hook = install_import_hook("wildrayzer", "beartype.beartype")
SHARE_THE_TINY_RUN = ("test_ablation_workflow.py", "test_reruns.py", "test_snakemake_report.py", "test_workflow.py")


class Together(LoadScopeScheduling):
    """With -n, the tests of a file run in one process, and so do those of all files that share the tiny run."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0].rpartition("/")[2]
        return "finished" if file in SHARE_THE_TINY_RUN else file


@pytest.hookimpl(optionalhook=True)  # without xdist nobody asks
def pytest_xdist_make_scheduler(config, log):
    return Together(config, log)


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no process is left alone with them."""
    slow = {item.module for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.module not in slow)


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
    from tests.helpers.tiny_run import snakemake

    folder = tmp_path_factory.mktemp("run")
    snakemake(folder, "--", "all")
    return folder
