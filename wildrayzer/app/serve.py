"""Starting the app: a server on this machine that asks nothing of any other."""

import importlib.machinery
import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

HOST, PORT = "127.0.0.1", 7860
_OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SSR_MODE": "False", "GRADIO_SHARE": "False"}


class _WithoutStubs:
    """An import hook that keeps gradio from writing type stubs of its components into its own folder.

    Gradio does so whenever it is imported, which takes more than half of the time of the import.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module that writes stubs, without its effect; None for all others, which are found as usual."""
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name == "gradio.component_meta" else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def without_stubs(module: ModuleType) -> None:
            execute(module)
            setattr(module, "create_or_modify_pyi", lambda *_: None)  # noqa: B010

        setattr(spec.loader, "exec_module", without_stubs)  # noqa: B010
        return spec


def check_installed() -> None:
    """Refuse to start without gradio.

    Raises:
        ValueError: it is not installed; says how to install it.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the app needs gradio, which is not installed; run: pip install 'wildrayzer[app]'")


def serve(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    host: str = HOST,
    port: int | None = None,
    device: str = "auto",
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the app until it is interrupted; from the main thread only.

    Files of visitors lie in a temporary folder, which is removed at the end.

    Args:
        checkpoint: folder, or OWNER/NAME on the hub; None takes the model of the package.
        host: address to listen on; the default is reachable only from this machine.
        port: None takes the first free one from `PORT`.
        device: `cpu`, `cuda` or `auto`.
        started: is told the address when the page can be opened.

    Raises:
        ValueError: gradio is not installed, no or a damaged checkpoint, or the port is taken.
    """
    check_installed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed
    with tempfile.TemporaryDirectory(prefix="wildrayzer-app-") as name:
        os.environ.update(_OFFLINE, GRADIO_TEMP_DIR=name)  # before gradio is imported
        sys.meta_path.insert(0, _WithoutStubs())
        import gradio as gr

        from wildrayzer.api.model import load
        from wildrayzer.app.components import CSS
        from wildrayzer.app.examples import find_examples
        from wildrayzer.app.page import build_page
        from wildrayzer.app.uploads import MOST_MEGABYTES

        model = load(checkpoint, device=device)
        page = build_page(model, find_examples(), Path(name))
        theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
        try:
            page.launch(
                server_name=host, server_port=port, theme=theme, css=CSS, footer_links=[], quiet=True, share=False,
                ssr_mode=False, enable_monitoring=False, run_history=False, max_file_size=f"{MOST_MEGABYTES}mb",
                prevent_thread_lock=True,
            )  # fmt: skip
        except OSError as error:
            raise ValueError(f"--host {host} --port {port}: {error}; name another port") from None
        try:
            started(page.local_url)
            page.block_thread()
        finally:
            page.close(verbose=False)
