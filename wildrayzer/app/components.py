"""Small pieces of the page: its style, pictures of examples, and how errors are shown."""

import html
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gradio as gr
import numpy as np

CSS = """
.gradio-container {max-width: 1180px !important; margin: auto}
.about {margin: .2rem 0; line-height: 1.45}
.warning {border-left: 4px solid #d97706; padding-left: .7rem}
table.steps {font-variant-numeric: tabular-nums; border: 0 !important}
table.steps td, table.steps th {padding: .15rem 1rem .15rem 0; text-align: left; font-weight: normal; border: 0}
table.steps tr {border: 0 !important}
table.steps th {opacity: .7}
table.steps td:nth-child(2) {white-space: nowrap}
.tabs {contain: inline-size} /* gradio measures all tabs in one line, which would widen the page of a phone */
.grid-wrap {min-height: 0 !important; max-height: none !important; padding-top: 2rem !important}
.grid-wrap {overflow-y: hidden !important} /* galleries are as tall as their pictures; a scroll bar would narrow them */
.grid-container {grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)) !important}
#examples .grid-container {grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)) !important}
#command .cm-scroller {min-height: 0 !important} /* gradio measures lines in a tab that is hidden */
#masks .grid-container {grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)) !important}
.caption-label {max-width: 100% !important; white-space: normal !important}
@media (max-width: 600px) {#drawing text {font-size: 24px}} /* the drawing shrinks with the page */
.shown label {position: static !important} /* above the picture, which may be smaller than its label */
.mask-step .grid-wrap {padding-top: 0 !important}
.mask-step .grid-container {grid-template-columns: repeat(auto-fill, minmax(min(30%, 150px), 1fr)) !important}
"""
_FAULTY = "This does not work"
Result = TypeVar("Result")


def shown_image(label: str, name: str, *, visible: bool = True) -> gr.Image:
    """A picture that is only shown."""
    return gr.Image(
        label=label, interactive=False, buttons=[], min_width=100, elem_id=name, elem_classes="shown", visible=visible
    )


def shown_gallery(name: str, **options: Any) -> gr.Gallery:
    """Pictures that are only shown."""
    return gr.Gallery(
        height="auto", object_fit="contain", buttons=[], interactive=False, elem_id=name,
        **{"columns": 5, **options},
    )  # fmt: skip


def mosaic(images: Sequence[np.ndarray]) -> np.ndarray:
    """Four pictures of equal size, spread over a scene, as a square: what moves is seen to move."""
    chosen = [images[number] for number in np.linspace(0, len(images) - 1, 4).round().astype(int)]
    return np.block([[[chosen[0]], [chosen[1]]], [[chosen[2]], [chosen[3]]]])


def warn(error: ValueError) -> None:
    """Show the message of faulty input, and carry on."""
    gr.Warning(html.escape(str(error)), duration=None, title=_FAULTY)


def said(work: Callable[[], Result]) -> Result:
    """Do some work; the message of faulty input is shown on the page. Other exceptions are bugs and go to the log."""
    try:
        return work()
    except ValueError as error:
        raise gr.Error(html.escape(str(error)), duration=None, title=_FAULTY, print_exception=False) from None
