"""Hooks of the site that `make docs` builds: anchors, links out of docs/, nothing fetched from elsewhere."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
hooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hooks)


@pytest.fixture
def checkout(tmp_path):
    """Files of a small repository, and the configuration of its site."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "run.yaml").write_text("cores: 2\n", encoding="utf-8")
    (tmp_path / "NEWS.md").write_text("# News\n\n[run](run.yaml), [page](docs/a/page.md#top)\n", encoding="utf-8")
    config = MkDocsConfig(str(tmp_path / "mkdocs.yml"))
    config.load_dict({"site_name": "site", "docs_dir": str(tmp_path / "docs"), "use_directory_urls": False})
    config.validate()
    config.plugins._current_plugin = "hooks"  # as while a build runs them
    text = "[run](../../run.yaml) [news](../../NEWS.md) [gone](../../gone.py) [out](https://a.example)"
    return config, Files([File.generated(config, "a/page.md", content=text)])


def test_links_out_of_the_documentation_lead_to_pages_of_the_site(checkout):
    config, files = checkout
    hooks.on_files(files, config)
    assert sorted(file.src_uri for file in files) == ["a/page.md", "files/NEWS.md.md", "files/run.yaml.md"]
    assert "````yaml\ncores: 2\n" in files.get_file_from_path("files/run.yaml.md").content_string

    def shown(uri):
        file = files.get_file_from_path(uri)
        return hooks.on_page_markdown(file.content_string, page=SimpleNamespace(file=file), files=files)

    assert shown("a/page.md") == (
        "[run](../files/run.yaml.md) [news](../files/NEWS.md.md) [gone](../../gone.py) [out](https://a.example)"
    )
    assert shown("files/NEWS.md.md") == "# News\n\n[run](run.yaml.md), [page](../a/page.md#top)\n"


def test_anchors_are_those_of_github():
    assert hooks.slug("Absolute test (`pseudo_masks.absolute_test`) – why", "-") == (
        "absolute-test-pseudo_masksabsolute_test--why"
    )


@pytest.mark.parametrize(
    "tag",
    [
        '<script async src="https://cdn.example/x.js">',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        '<img src="http://a.example/b.png">',
    ],
)
def test_a_page_that_fetches_from_elsewhere_is_refused(tag):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    with pytest.raises(PluginError, match=r"a\.md fetches from outside"):
        hooks.on_post_page(f"<p>{tag}</p>", page=page)
    text = '<a href="https://a.example"><img src="pictures/b.png">'
    assert hooks.on_post_page(text, page=page) == text


def test_a_notebook_becomes_text_code_and_pictures(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["f()"], "outputs": [{"text": ["1\n"]}, {"data": {"image/png": "AB\nCD"}}]},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert hooks._as_markdown(tmp_path / "a.ipynb", "a.ipynb") == (
        "# Title\ntext\n\n```python\nf()\n```\n\n```text\n1\n\n```\n\n![output](data:image/png;base64,ABCD)"
    )
