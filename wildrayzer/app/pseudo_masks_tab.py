"""The tab that shows how pseudo-masks come about, step by step, computed when asked for."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from wildrayzer.api.model import Model
from wildrayzer.app import text
from wildrayzer.app.components import said, shown_gallery
from wildrayzer.app.mask_steps import step_pictures
from wildrayzer.app.session import Session

if TYPE_CHECKING:
    from wildrayzer.app.pseudo_masks import MaskMaker


class PseudoMasksTab:
    """Components and events. All visitors share a `MaskMaker`, and with it the calibration."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder = model, folder
        self._maker: MaskMaker | None = None
        self._making = threading.Lock()

    def build(self) -> None:
        """Add the tab; to be called among the others."""
        with gr.Tab("Pseudo-masks", id="pseudo-masks"):
            gr.Markdown(text.about_pseudo_masks(self.model))
            self.start = gr.Button("Make pseudo-masks", elem_id="make-pseudo-masks")
            self.summary = gr.HTML(text.NO_MASK_STEPS, elem_id="pseudo-masks-text")
            with gr.Column(visible=False) as self.shown:
                self.rows = [self._row(number, title) for number, title in enumerate(text.MASK_STEPS)]

    def _row(self, number: int, title: str) -> gr.Gallery:
        gr.Markdown(title)
        return shown_gallery(f"mask-step-{number}", show_label=False, elem_classes="mask-step")

    def connect(self, session: gr.State, timings: gr.HTML, packed: gr.DownloadButton, compute: dict[str, Any]) -> None:
        """What the button does.

        Args:
            session: of the visitor.
            timings: the table of steps.
            packed: the zip file, which becomes stale.
            compute: options of events that compute.
        """
        self.start.click(self._make, session, [*self.outputs, timings, packed, *self.rows], **compute)

    @property
    def outputs(self) -> list[gr.HTML | gr.Column]:
        """Components that `state` has values for."""
        return [self.summary, self.shown]

    def state(self, session: Session) -> tuple[Any, ...]:
        """After a prediction: masks of earlier pictures are hidden."""
        if session.mask_steps is None:
            return text.NO_MASK_STEPS, gr.Column(visible=False)
        return gr.skip(), gr.skip()

    def _make(
        self,
        session: Session,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        maker = self._shared()
        said(lambda: session.make_masks(maker, lambda share, what: progress(share, desc=what)))
        steps, limit = session.mask_steps, maker.config.distill.psnr_filter
        assert steps is not None
        return (
            text.about_mask_steps(steps, limit), gr.Column(visible=True),
            text.steps_table(session.steps, cuda=self.model.device.type == "cuda"), gr.DownloadButton(visible=False),
            *step_pictures(steps, session.predicted.images),
        )  # fmt: skip

    def _shared(self) -> "MaskMaker":
        from wildrayzer.app.pseudo_masks import MaskMaker  # needs a second to import; nobody waits for it before

        with self._making:
            self._maker = self._maker or MaskMaker(self.model, self.folder)
            return self._maker
