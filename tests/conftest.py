"""Every shape annotation of the package is checked while the tests run; fixtures that several files share."""

import pytest
from jaxtyping import install_import_hook

hook = install_import_hook("wildrayzer", "beartype.beartype")


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
