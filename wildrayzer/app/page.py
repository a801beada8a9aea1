"""The page: components of gradio, and what happens when one is used."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from wildrayzer.api.model import Model
from wildrayzer.app import text
from wildrayzer.app.command import command
from wildrayzer.app.components import mosaic, said, shown_gallery, shown_image, warn
from wildrayzer.app.drawing import cameras_svg, enlarged, overlay
from wildrayzer.app.examples import Example
from wildrayzer.app.pseudo_masks_tab import PseudoMasksTab
from wildrayzer.app.session import Session, other_nearest_input
from wildrayzer.app.uploads import MOST_PICTURES, read_uploads
from wildrayzer.data.ingest.media.video import VIDEO_SUFFIXES
from wildrayzer.data.ingest.sources import IMAGE_SUFFIXES
from wildrayzer.tools.render.video import write_video

KEPT_SECONDS = 1800
"""Sessions and files of the page are removed after this time."""
SESSIONS_WAITING, AT_ONCE = 40, 2


def build_page(model: Model, examples: Sequence[Example], folder: Path) -> gr.Blocks:
    """The page of a model.

    Args:
        model: any checkpoint; without a trained motion head, the page says so and has no mask controls.
        examples: scenes to choose.
        folder: temporary folder of the server; a session's files lie in a folder of its own below it.
    """
    return _Page(model, examples, folder).build()


class _Page:
    """Components and their events. Every visitor has a `Session`, which gradio keeps on the server."""

    def __init__(self, model: Model, examples: Sequence[Example], folder: Path) -> None:
        self.model, self.examples, self.folder = model, examples, folder
        self.gated = model.static_because is None
        self.pseudo_masks = PseudoMasksTab(model, folder)

    def build(self) -> gr.Blocks:
        with gr.Blocks(
            title="WildRayZer", analytics_enabled=False, delete_cache=(KEPT_SECONDS // 3, KEPT_SECONDS)
        ) as page:
            gr.HTML(
                "<h1>WildRayZer</h1><p class='about'>Views of a scene without what moves, from a few pictures whose "
                f"cameras nobody knows.</p>{text.about_model(self.model)}"
            )
            self.session = gr.State(None, time_to_live=KEPT_SECONDS)
            self._pictures()
            with gr.Column(visible=False) as self.results:
                self.numbers = gr.HTML()
                with gr.Tabs():
                    self._views()
                    self._masks()
                    self.pseudo_masks.build()
                    self._cameras()
                    self._path()
                    self._download()
            self._events()
            page.unload(self._end)
        page.queue(max_size=SESSIONS_WAITING, default_concurrency_limit=8, api_open=False)
        return page

    def _pictures(self) -> None:
        side = self.model.image_size
        thumbnails = [(mosaic([one.preview for one in example.read(side)]), example.title) for example in self.examples]
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.gallery = shown_gallery(
                    "examples", value=thumbnails, label="Examples: click one", allow_preview=False
                )
                self.files = gr.File(
                    label=f"Or your own: 2 to {MOST_PICTURES} photos, or one video", file_count="multiple",
                    file_types=[*IMAGE_SUFFIXES, *VIDEO_SUFFIXES], height=150, elem_id="files",
                )  # fmt: skip
                self.frames = gr.Slider(
                    2, 12, value=5, step=1, label="Frames to take from a video, evenly spread", elem_id="frames"
                )
                self.inputs = gr.Radio(
                    [("most", 0), *((str(count), count) for count in self.model.input_counts)], value=0,
                    label="Input views; of the others only the cameras are used", elem_id="inputs",
                )  # fmt: skip
                with gr.Accordion("What to record; limits; what happens to uploads", open=False):
                    gr.Markdown(text.ADVICE)
            with gr.Column(scale=3, min_width=300):
                self.preview = shown_gallery(
                    "preview", label="Pictures; what the crop leaves out is dark", allow_preview=False
                )
                self.chosen = gr.HTML("<p class='about'>Nothing chosen yet.</p>", elem_id="chosen")
                self.start = gr.Button(
                    "Predict cameras, masks and views" if self.gated else "Predict cameras and views",
                    variant="primary", interactive=False, elem_id="start",
                )  # fmt: skip
                self.timings = gr.HTML(elem_id="timings")

    def _views(self) -> None:
        with gr.Tab("Views", id="views"):
            self.view = gr.Slider(1, 2, value=1, step=1, label="View", elem_id="view")
            self.view_text = gr.HTML()
            with gr.Row():
                self.compare = gr.ImageSlider(
                    label="Recorded (left) and rendered (right): drag the line", interactive=False, buttons=[],
                    max_height=460, min_width=300, elem_id="compare",
                )  # fmt: skip
                with gr.Column(min_width=300):
                    gr.HTML(
                        "<p class='about'><b>Controls.</b> A rendering is worth something only if it beats these.</p>"
                    )
                    with gr.Row():
                        self.nearest = shown_image("Nearest other input, copied", "nearest")
                        self.ungated = shown_image("Same model, nothing kept out", "ungated", visible=self.gated)

    def _masks(self) -> None:
        with gr.Tab("Masks", id="masks", visible=self.gated):
            gr.Markdown(text.MASKS)
            self.masks = shown_gallery("masks", label="Motion of each view")
            with gr.Row():
                self.mask_threshold = gr.Slider(
                    0, 1, value=0.5, step=0.01, label="Mask threshold: which pixels count as transient",
                    min_width=300, elem_id="mask-threshold",
                )  # fmt: skip
                self.gate_threshold = gr.Slider(
                    0, 1, value=self.model.gate_threshold or 0.5, step=0.01,
                    label="Gate threshold: which patches are kept out of renderings",
                    min_width=300, elem_id="gate-threshold",
                )  # fmt: skip
            self.gate_text = gr.HTML(elem_id="gate-text")
            self.again = gr.Button("Render again", elem_id="again")

    def _cameras(self) -> None:
        with gr.Tab("Cameras", id="cameras"):
            gr.Markdown(text.GAUGE)
            self.drawing = gr.HTML(elem_id="drawing")
            with gr.Row():
                self.azimuth = gr.Slider(-180, 180, value=35, step=5, label="Turn, degrees", elem_id="azimuth")
                self.elevation = gr.Slider(-90, 90, value=25, step=5, label="Tilt, degrees", elem_id="elevation")

    def _path(self) -> None:
        with gr.Tab("Camera path", id="path"):
            with gr.Row():
                self.path_frames = gr.Slider(
                    8, 120, value=48, step=1, label="Frames of the path, 24 per second", min_width=300,
                    elem_id="path-frames",
                )  # fmt: skip
                self.render_path = gr.Button("Render the path", elem_id="render-path")
            self.frame = gr.Slider(
                1, 48, value=1, step=1, label="Frame: drag to move the camera", visible=False, elem_id="frame"
            )
            gr.HTML("<p class='about'>Beside the rendering, its <b>controls</b>: the nearest input, copied"
                    + (", and the same cameras with nothing kept out.</p>" if self.gated else ".</p>"))  # fmt: skip
            with gr.Row():
                self.along = shown_image("Rendered", "along")
                self.along_nearest = shown_image("Nearest input", "along-nearest")
                self.along_ungated = shown_image("Nothing kept out", "along-ungated", visible=self.gated)
            self.video = gr.Video(
                label="The path as a video", interactive=False, visible=False, buttons=[], height=320, elem_id="video"
            )

    def _download(self) -> None:
        with gr.Tab("Download", id="download"):
            gr.Markdown(
                "One zip file: recorded pictures, views, masks, pseudo-masks and path as PNG and MP4, as far as they "
                "exist; cameras for nerfstudio (`transforms.json`) and COLMAP (text); and the command that makes the "
                "renderings again:"
            )
            self.command = gr.Code(
                language="shell", label="In the unpacked folder", interactive=False, wrap_lines=True, elem_id="command"
            )
            with gr.Row():
                self.pack = gr.Button("Pack", elem_id="pack")
                self.packed = gr.DownloadButton("Download zip", visible=False, variant="primary", elem_id="packed")

    def _events(self) -> None:
        """What each control does. Whatever computes shares one limit, so that ten visitors wait and do not fight."""
        compute: dict[str, Any] = {"concurrency_id": "compute", "concurrency_limit": AT_ONCE}
        quick: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
        brought = [self.session, self.preview, self.chosen, self.start, self.results, self.timings]
        along = [self.along, self.along_nearest, self.along_ungated]
        stale = [self.frame, self.video, self.packed, *along]
        thresholds = [self.mask_threshold, self.gate_threshold]
        predicted = [self.results, self.timings, self.view, *thresholds, *self.pseudo_masks.outputs, *stale]
        view = [self.view_text, self.compare, self.nearest, self.ungated]
        masks = [self.masks, self.gate_text, self.command]
        drawn = [self.session, self.azimuth, self.elevation]

        def shown(event: Any) -> Any:
            """After a prediction or a new rendering: everything that shows it."""
            event = event.success(self._view, [self.session, self.view], view, **quick)
            event = event.success(self._mask, [self.session, *thresholds], masks, **quick)
            return event.success(self._draw, drawn, self.drawing, **quick)

        picked = self.gallery.select(self._example, None, brought, **compute)
        shown(picked.success(self._predict, [self.session, self.inputs], predicted, **compute))
        self.files.upload(self._upload, [self.files, self.frames], [*brought, self.files], **compute)
        shown(self.start.click(self._predict, [self.session, self.inputs], predicted, **compute))
        self.view.change(self._view, [self.session, self.view], view, **quick)
        for slider in thresholds:
            slider.input(self._mask, [self.session, *thresholds], masks, **quick)
        rendered = self.again.click(
            self._render, [self.session, self.gate_threshold], [self.timings, *stale], **compute
        )
        shown(rendered)
        for slider in (self.azimuth, self.elevation):
            slider.input(self._draw, drawn, self.drawing, **quick)
        self.render_path.click(
            self._render_path, [self.session, self.path_frames], [self.timings, self.frame, self.video, self.command],
            **compute,
        ).success(self._frame, [self.session, self.frame], along, **quick).success(
            self._draw, drawn, self.drawing, **quick
        )  # fmt: skip
        self.frame.input(self._frame, [self.session, self.frame], along, **quick)
        self.pseudo_masks.connect(self.session, self.timings, self.packed, compute)
        self.pack.click(self._pack, self.session, self.packed, **compute)

    def _example(self, chosen: gr.SelectData) -> tuple[Any, ...]:
        example = self.examples[int(chosen.index)]
        return self._brought(example.title, example.read(self.model.image_size))

    def _upload(self, files: list[str], frames: float) -> tuple[Any, ...]:
        """The last value empties the box, also where files are refused.

        The files are not deleted here: gradio names them by their content, and another session may be about to read
        the same. They are removed with all others of the page (`KEPT_SECONDS`).
        """
        paths = [Path(file) for file in files]
        try:
            pictures = read_uploads(paths, image_size=self.model.image_size, frames=int(frames))
        except ValueError as error:
            warn(error)
            return *(gr.skip(),) * 6, None
        return *self._brought("Your pictures", pictures), None

    def _brought(self, title: str, pictures: list[Any]) -> tuple[Any, ...]:
        session = Session(self.model, title, pictures)
        shown = [(one.preview, f"{number + 1}") for number, one in enumerate(pictures)]
        return (
            session, shown, text.about_pictures(title, pictures), gr.Button(interactive=True),
            gr.Column(visible=False), "",
        )  # fmt: skip

    def _predict(
        self,
        session: Session,
        inputs: int,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        session.steps.clear()
        session.inputs = inputs or None
        said(lambda: session.predict(lambda share, what: progress(share, desc=what)))
        return (
            gr.Column(visible=True), self._steps(session), gr.Slider(maximum=len(session.pictures), value=1),
            session.mask_threshold, session.gate_threshold or 0.5, *self.pseudo_masks.state(session),
            *_no_path(),
        )  # fmt: skip

    def _render(self, session: Session, threshold: float) -> tuple[Any, ...]:
        session.gate_threshold = threshold
        said(session.render)
        return self._steps(session), *_no_path()

    def _render_path(
        self,
        session: Session,
        frames: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        said(lambda: session.render_path(int(frames), lambda share, what: progress(share, desc=what)))
        assert session.path is not None
        file = self._own(request) / f"path-{request.session_hash}.mp4"
        write_video(file, iter(session.path.frames))
        return (
            self._steps(session), gr.Slider(maximum=int(frames), value=1, visible=True),
            gr.Video(str(file), visible=True), command(session),
        )  # fmt: skip

    def _view(self, session: Session | None, number: float) -> tuple[Any, ...]:
        if session is None or session.views is None:
            return (gr.skip(),) * 4
        view = min(int(number), len(session.pictures)) - 1
        scene, images = session.predicted, session.views.pixels
        control = other_nearest_input(view, scene.inputs)
        return (
            text.about_view(session, view), (enlarged(scene.images[view]), enlarged(images[view])),
            enlarged(scene.images[control]),
            None if session.ungated is None else enlarged(session.ungated.pixels[view]),
        )  # fmt: skip

    def _mask(self, session: Session | None, mask: float, gate: float) -> tuple[Any, ...]:
        """From cached probabilities; the gate's threshold is only shown until the views are rendered again."""
        if session is None or session.scene is None:
            return (gr.skip(),) * 3
        if session.scene.masks is None:
            return [], "", command(session)
        session.mask_threshold = mask
        gated = session.scene.gate(gate)
        assert gated is not None
        transient = session.scene.masks.at(mask).transient
        pictures = [
            (overlay(image, *masks), f"{number + 1}")
            for number, (image, *masks) in enumerate(zip(session.scene.images, transient, gated, strict=True))
        ]
        return pictures, text.about_gate(session, gate), command(session)

    def _draw(self, session: Session | None, azimuth: float, elevation: float) -> Any:
        if session is None or session.scene is None:
            return gr.skip()
        path = None if session.path is None else session.path.cameras
        return cameras_svg(session.scene.cameras, session.scene.inputs, path, azimuth=azimuth, elevation=elevation)

    def _frame(self, session: Session | None, number: float) -> tuple[Any, ...]:
        if session is None or session.path is None:
            return (gr.skip(),) * 3
        path, frame = session.path, min(int(number), len(session.path.frames)) - 1
        ungated = None if path.ungated is None else enlarged(path.ungated[frame])
        return enlarged(path.frames[frame]), enlarged(session.predicted.images[path.nearest[frame]]), ungated

    def _pack(self, session: Session, request: gr.Request) -> Any:
        from wildrayzer.app.download import write_zip  # its formats need a second to import; nobody waits for it before

        file = self._own(request) / f"wildrayzer-{request.session_hash}.zip"
        said(lambda: write_zip(session, file))
        return gr.DownloadButton(value=str(file), visible=True)

    def _steps(self, session: Session) -> str:
        return text.steps_table(session.steps, cuda=self.model.device.type == "cuda")

    def _own(self, request: gr.Request) -> Path:
        """The folder of a session's files."""
        folder = self.folder / f"session-{request.session_hash}"
        folder.mkdir(exist_ok=True)
        return folder

    def _end(self, request: gr.Request) -> None:
        """Remove the files of a session whose page was closed, and gradio's copies of them."""
        shutil.rmtree(self.folder / f"session-{request.session_hash}", ignore_errors=True)
        for copy in self.folder.rglob(f"*-{request.session_hash}.*"):
            copy.unlink(missing_ok=True)


def _no_path() -> tuple[Any, ...]:
    """Scrubber, video and zip of before, hidden, and frames of before, removed."""
    return gr.Slider(visible=False), gr.Video(None, visible=False), gr.DownloadButton(visible=False), None, None, None
