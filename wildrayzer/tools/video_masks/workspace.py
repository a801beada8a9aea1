"""The folder of `masks run`: an ingested set, a configuration, the workflow's results, and what is exported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildrayzer.checkpoint import read_manifest
from wildrayzer.config import RunConfig, load_config
from wildrayzer.data.ingest.change import NothingAddedError, change_set, check_options
from wildrayzer.data.ingest.clips import IngestOptions
from wildrayzer.data.ingest.report import REPORT, IngestReport, read_report
from wildrayzer.data.ingest.run_config import config_text
from wildrayzer.data.ingest.sources import find_sources
from wildrayzer.data.ingest.write import ingest
from wildrayzer.io.files import write_bytes_atomic
from wildrayzer.io.shipped import BUNDLED_RENDERER, SHIPPED
from wildrayzer.run.layout import RunLayout

NAME, SPLIT = "video", "own_dynamic"
"""The run and its split."""
BASE, CHECKPOINT = SHIPPED / "config" / "showcase.yaml", BUNDLED_RENDERER
"""What is used where nothing else is named."""


@dataclass(frozen=True)
class Workspace:
    """Places in the folder."""

    folder: Path

    @property
    def data(self) -> Path:
        """The ingested set."""
        return self.folder / "data"

    @property
    def config_file(self) -> Path:
        """The run's configuration."""
        return self.folder / "config.yaml"

    @property
    def masks(self) -> Path:
        """Folder of the exported masks."""
        return self.folder / "masks"

    @property
    def overlays(self) -> Path:
        """Folder of the exported videos."""
        return self.folder / "overlays"

    @property
    def page(self) -> Path:
        """The page that shows all."""
        return self.folder / "index.html"

    @property
    def lock(self) -> Path:
        """File that the running command holds, and by which the folder is known."""
        return self.folder / ".masks-run.lock"

    @property
    def layout(self) -> RunLayout:
        """Paths of the run."""
        return RunLayout(NAME, str(self.folder / "results"))

    def config(self) -> RunConfig:
        """The run's options."""
        return load_config(self.config_file)

    def check(self) -> None:
        """Refuse a folder that holds anything else.

        Raises:
            ValueError: as said.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--out {self.folder} is a file; name a folder")
        if self.folder.is_dir() and not self.lock.exists() and any(self.folder.iterdir()):
            raise ValueError(f"--out {self.folder} holds other files; name a new folder, or one of an earlier call")

    def take_in(self, videos: Sequence[Path], options: Mapping[str, Any]) -> tuple[IngestReport, dict[str, str]]:
        """Make the set, or add those videos to it that are new or have changed.

        Args:
            videos: files or folders.
            options: fields of `IngestOptions`; None leaves an earlier call's, else the default.

        Returns:
            The set as it is now, and what was named and not taken, with the reasons.

        Raises:
            ValueError: no video can be used, or the set was cut in another way.
        """
        if not (self.data / REPORT).is_file():
            given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
            report = ingest(videos, self.data, IngestOptions(**given))
            return report, {**report.skipped, **report.left_out}
        before = read_report(self.data)
        check_options(self.data, before.options, options)
        found, known = find_sources(videos), {source.content for source in before.sources}
        refused = {str(path): reason for path, reason in found.left_out.items()}
        new = [source.path for source in found.sources if source.content not in known]
        try:
            if new:
                changed = change_set(self.data, new, replace_changed=True)
                refused |= {**changed.added.skipped, **changed.refused}
        except NothingAddedError as error:  # what the set holds is there all the same
            refused |= error.reasons
        return read_report(self.data), refused

    def configure(self, base: Path | None, checkpoint: Path | None) -> None:
        """Write the configuration, unless there is one and neither a base nor a checkpoint is named.

        What is not named stays as an earlier call, or the user, has left it.

        Raises:
            ValueError: the base or the checkpoint cannot be used.
        """
        earlier = self.config_file if self.config_file.is_file() else None
        if earlier and base is None and checkpoint is None:
            self._check_renderer()
            return
        kept = self.config().pretrained if earlier and checkpoint is None else None
        renderer = kept or str((checkpoint or CHECKPOINT).resolve())
        text = config_text(base or earlier or BASE, self.data.resolve(), pretrained=renderer, name=NAME)
        write_bytes_atomic(self.config_file, text.encode())

    def _check_renderer(self) -> None:
        renderer = self.config().pretrained
        assert renderer is not None, "own videos start from a checkpoint"
        try:
            read_manifest(renderer)
        except ValueError as error:
            raise ValueError(f"{self.config_file}: pretrained: {error} by --checkpoint, such as {CHECKPOINT}") from None
