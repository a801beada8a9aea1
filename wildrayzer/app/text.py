"""Texts of the page. Names from outside are escaped: the page shows HTML."""

import html
from collections.abc import Sequence

import numpy as np

from wildrayzer.api.model import Model
from wildrayzer.app.mask_steps import MaskSteps
from wildrayzer.app.session import Session, Step
from wildrayzer.app.uploads import LIMITS, Picture
from wildrayzer.io.shipped import BUNDLED_MODEL, BUNDLED_RENDERER

ADVICE = f"""
- **Move the camera**, sideways by a step or two, and keep the scene in view. From pure turns no depth can be seen.
- Take every picture of **one scene**, in order, with overlap: two pictures should share at least two thirds.
- Things may move, but most of what is seen should stand still.
- Hold the exposure; avoid blur, mirrors and glass. Keep what matters in the **centre square**.

**Limits:** {LIMITS}.

**What happens to uploads:** they and what the page shows lie in a temporary folder of this server. They are removed
half an hour later, or when the app ends. Nothing is sent elsewhere.
"""
TINY = 64
"""Pixels; models of up to this size are calibrated while one waits."""
_BUNDLED = {
    BUNDLED_MODEL: ("the small model that ships with the package", "85 minutes of processor time"),
    BUNDLED_RENDERER: ("the static renderer that ships with the package", "65 minutes of processor time"),
}
GAUGE = (
    "Cameras are predicted from the pictures and **known up to gauge**: the network chooses the frame of reference, "
    "the scale and, to a degree, the shape of space. Blue: inputs. Orange: targets; only their cameras are used. "
    "Dashed: the rendered path."
)
MASKS = (
    "Red: pixels whose probability of motion is above the mask threshold. White frames: patches whose mean probability "
    "is above the gate threshold; they are kept out of all renderings. Targets have no frames: their pixels are never "
    "used."
)
MASK_STEPS = (
    "**Prediction.** Each picture as the renderer, which expects a still scene, predicts it from two others.",
    "**1. Residuals: features.** Bright patches: texture and colour (15 numbers per patch) unlike the prediction.",
    "**1. Residuals: SSIM.** Bright patches: structure unlike the prediction.",
    "**2. Votes.** Both residuals, standardised and fused. Blue frames: patches of the clusters that voting chose.",
    "**3. Refined mask.** White frames: patches that pass the threshold as well. Red: the pixel mask of GrabCut.",
)
"""Headings of the rows of `step_pictures`."""
NO_MASK_STEPS = "<p class='about'>Nothing made yet.</p>"


def about_pseudo_masks(model: Model) -> str:
    """What a pseudo-mask is and what this one is worth, as Markdown."""
    sentences = [
        "The method labels its own training clips: **these masks teach the motion head**, and are made without one. "
        "Where a picture looks unlike its prediction, something moved, **or the renderer failed for another reason**.",
        "Functions and options are those of `wildrayzer masks run`, which takes a whole video at five frames per "
        "second. Here there are only the pictures above.",
    ]
    if model.static_because is None:
        sentences.append("The motion head of this checkpoint is not used, and nothing is kept out of the predictions.")
    if model.image_size <= TINY:
        sentences.append(
            "The thresholds come from 60 procedural clips in which nothing moves. The first request makes and predicts "
            "them, which takes a while. Still recordings of your own would fit better."
        )
    else:
        sentences.append(
            f"**Not calibrated:** at {model.image_size} px this would take too long here. Without thresholds, voting "
            "marks about as much where nothing moves. `wildrayzer masks run` calibrates."
        )
    return " ".join(sentences)


def about_mask_steps(steps: Sequence[MaskSteps], psnr_filter: float | int) -> str:
    """What the steps found, in numbers, as HTML.

    Args:
        steps: of all views.
        psnr_filter: dB that a prediction must exceed to train the motion head.
    """
    psnr = np.array([one.psnr for one in steps])
    voted, left = (sum(int(getattr(one, name).sum()) for one in steps) for name in ("voted", "patches"))
    covered = np.mean([one.pixels.mean() for one in steps])
    return (
        f'<p class="about">Predictions have {psnr.mean():.1f} dB on average; {int((psnr > psnr_filter).sum())} of '
        f"{len(steps)} are over {psnr_filter:g} dB, and would train a motion head. Voting chose {voted} of "
        f"{sum(one.voted.size for one in steps)} patches, {left} are left after the threshold, and the refined masks "
        f"cover {covered:.0%} of the pictures.</p>"
    )


def about_model(model: Model) -> str:
    """What the model is, with a plain warning if it removes nothing, as HTML."""
    manifest = model.manifest
    counts = ", ".join(map(str, model.input_counts))
    name, trained = _BUNDLED.get(model.folder, (f"<code>{html.escape(str(model.folder))}</code>", ""))
    text = (
        f"<b>Model:</b> {name}; stage {html.escape(manifest.stage)}, {model.image_size} px, trained with {counts} "
        f"input views, weights <code>{html.escape(manifest.weights_digest)}</code>."
    )
    if trained:
        text += f" It was trained for {trained}."
    if manifest.only_embedded:
        text += " It knows procedural rooms only: photos of real places come out as a blur."
    if model.static_because is None:
        return f'<p class="about">{text}</p>'
    return (
        f'<p class="about">{text}</p><p class="about warning"><b>This model has no masks and removes nothing:</b> it '
        f"{html.escape(model.static_because)}. Its pseudo-masks show what motion masks are learned from. To see "
        "learned masks, start the app with a checkpoint of a later stage, or without one: the model of the package "
        "has masks.</p>"
    )


def about_pictures(title: str, pictures: Sequence[Picture]) -> str:
    """What was read and how much of it the crop keeps, as HTML."""
    least = min(one.view.kept for one in pictures)
    width, height = pictures[0].view.recorded
    crop = "nothing is cropped" if least == 1 else f"the central square keeps {least:.0%} (bright part)"
    return (
        f'<p class="about"><b>{html.escape(title)}:</b> {len(pictures)} pictures of {width}×{height} px; {crop}. The '
        f"network sees {len(pictures[0].view.image)}×{len(pictures[0].view.image)} px.</p>"
    )


def about_view(session: Session, view: int) -> str:
    """What a view is: its name, and whether its pixels were used, as HTML."""
    name = html.escape(session.pictures[view].name)
    if view in session.predicted.inputs:
        return f'<p class="about"><b>View {view + 1}</b> ({name}) is an <b>input</b>: the renderer has seen it.</p>'
    return (
        f'<p class="about"><b>View {view + 1}</b> ({name}) is a <b>target</b>: the renderer has seen only its '
        "predicted camera, not its pixels.</p>"
    )


def about_gate(session: Session, threshold: float) -> str:
    """How many patches are kept out at a threshold, and whether the renderings are those of it, as HTML."""
    gate = session.predicted.gate(threshold)
    if gate is None:
        return ""
    stands = f"The renderings are those of {session.gate_threshold:.2f}"
    stands += "." if threshold == session.gate_threshold else ": press “Render again” to change them."
    inputs = list(session.predicted.inputs)
    return (
        f'<p class="about">{int(gate.sum())} of {gate[inputs].size} input patches are kept out at gate threshold '
        f"{threshold:.2f}. {stands}</p>"
    )


def steps_table(steps: Sequence[Step], *, cuda: bool) -> str:
    """Time and memory of each step as an HTML table."""
    memory = "peak GPU memory of the step" if cuda else "peak memory of the app so far"
    rows = "".join(
        f"<tr><td>{html.escape(one.name)}</td><td>{one.seconds:.2f} s</td><td>{one.peak_megabytes:,.0f} MB</td></tr>"
        for one in steps
    )
    return f'<table class="steps"><tr><th>step</th><th>time</th><th>{memory}</th></tr>{rows}</table>'
