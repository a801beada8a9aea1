"""The commands that make the renderings and the pseudo-masks of a session again."""

import shlex

from wildrayzer.app.session import Session
from wildrayzer.io.shipped import BUNDLED_MODEL, BUNDLED_RENDERER


def checkpoint_name(session: Session) -> str:
    """Folder of the checkpoint; those that ship with the package are named as in the repository."""
    folder = session.model.folder
    return f"resources/{folder.name}" if folder in (BUNDLED_MODEL, BUNDLED_RENDERER) else str(folder)


def command(session: Session) -> str:
    """`wildrayzer render` with the options that make the renderings of a session again, from its unpacked zip file."""
    options = ["--out", "again"]
    if session.inputs is not None:
        options += ["--inputs", str(session.inputs)]
    if session.predicted.masks is not None:
        options.append("--masks")
    if session.gate_threshold is not None and session.gate_threshold != session.model.gate_threshold:
        options += ["--gate-threshold", repr(session.gate_threshold)]
    if session.path is not None:
        options += ["--video", "--path-frames", str(len(session.path.frames))]
    return shlex.join(["wildrayzer", "render", checkpoint_name(session), "recorded", *options])


def masks_command(session: Session) -> str:
    """`wildrayzer masks run` with the options that make the pseudo-masks again, from the unpacked zip file.

    They are the same where the app calibrates, as `masks run` always does.
    """
    options = ["--out", "again-masks", "--clip-length", str(len(session.pictures))]
    if session.model.folder != BUNDLED_RENDERER:  # what `masks run` takes where nothing is named
        options += ["--checkpoint", checkpoint_name(session)]
    return shlex.join(["wildrayzer", "masks", "run", "recorded", *options])
