"""Hooks of mkdocs.yml: links out of docs/ lead to pages of the site, and no page fetches anything from elsewhere."""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
_FETCHED = re.compile(r"<(?:script|img|link|iframe|source|video)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")


def slug(heading, separator):
    """Anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def on_config(config):
    """Anchors on the site are those on GitHub."""
    config.mdx_configs["toc"]["slugify"] = slug


def on_files(files, config):
    """Adds a page files/PATH.md for every file outside docs/ that a page links to."""
    root = Path(config.config_file_path).parent
    waiting = [(_path(file.src_uri), file.content_string) for file in files.documentation_pages()]
    while waiting:
        path, text = waiting.pop()
        for target in _LINK.findall(text):
            linked = _resolve(path, target)
            uri = _uri(linked)
            if linked.startswith(("docs/", "../")) or files.get_file_from_path(uri) or not (root / linked).is_file():
                continue
            content = _as_markdown(root / linked, linked)
            files.append(File.generated(config, uri, content=content))
            waiting.append((linked, content if linked.endswith(".md") else ""))
    return files


def on_page_markdown(markdown, page, files, **_):
    """Links between files of the repository, as links between pages of the site."""
    path = _path(page.file.src_uri)

    def on_site(match):
        uri = _uri(_resolve(path, match[0]))
        there = files.get_file_from_path(uri)
        return posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".") if there else match[0]

    return _LINK.sub(on_site, markdown)


def on_post_page(output, page, **_):
    """A page, refused if it would fetch a script, style, picture or font from elsewhere."""
    return _without_fetches(output, page.file.src_uri)


def on_post_template(output_content, template_name, **_):
    """A page of the theme, such as 404.html, refused likewise."""
    return _without_fetches(output_content, template_name)


def _path(uri):
    """Path in the repository of a page of the site."""
    return uri.removeprefix("files/").removesuffix(".md") if uri.startswith("files/") else f"docs/{uri}"


def _uri(path):
    """Page of the site for a path in the repository."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}.md"


def _without_fetches(output, name):
    if match := _FETCHED.search(output):
        raise PluginError(f"{name} fetches from outside: {match[0]}")
    return output


def _resolve(path, target):
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _as_markdown(file, path):
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    if file.suffix == ".ipynb":
        return "\n\n".join(_cell(cell) for cell in json.loads(text)["cells"])
    language = {".smk": "python", "": "python"}.get(file.suffix, file.suffix[1:])
    return f"# {path}\n\n````{language}\n{text}\n````\n"


def _cell(cell):
    """A cell of a notebook: text as it is; code with its text and its pictures."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    parts = [f"```python\n{source}\n```"]
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            parts.append(f"![output](data:image/png;base64,{''.join(data['image/png'].split())})")
        elif text := "".join(output.get("text", data.get("text/plain", ""))):
            parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts)
