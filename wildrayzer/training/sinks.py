"""Where training figures go beside the JSON lines: TensorBoard and Weights & Biases, both optional packages."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from wildrayzer.config.sections.watch import WatchConfig
from wildrayzer.io.digests import digest_json


@runtime_checkable
class Sink(Protocol):
    """Takes figures and pictures of a stage as they are made."""

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Figures of a step; `kind` is train, validation or health."""

    def picture(self, name: str, step: int, path: Path) -> None:
        """A PNG file of a step."""

    def close(self) -> None:
        """Write what is buffered."""


def open_sinks(config: WatchConfig, folder: Path, *, name: str) -> list[Sink]:
    """The sinks that the configuration asks for.

    Args:
        config: the `watch` section.
        folder: of the stage's resume states; events go to folders in it.
        name: of the run in Weights & Biases.

    Raises:
        ValueError: a package is missing; the message names it.
    """
    sinks: list[Sink] = []
    if config.tensorboard:
        sinks.append(TensorBoard(folder / "tensorboard"))
    if config.wandb is not None:
        sinks.append(WeightsAndBiases(folder, mode=config.wandb, project=config.wandb_project, name=name))
    return sinks


class TensorBoard:
    """Event files. Those of a lost part of a resumed run are purged by the viewer."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "watch.tensorboard: true needs the package tensorboard; pip install tensorboard, or set it to false"
            ) from None
        self._open, self._folder = SummaryWriter, folder
        self._writer: Any = None

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One scalar a figure, named KIND/FIGURE."""
        for name, value in values.items():
            self._writing(step).add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, path: Path) -> None:
        """One picture."""
        import cv2

        pixels = cv2.imread(str(path))
        assert pixels is not None
        self._writing(step).add_image(name, pixels[..., ::-1].copy(), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is buffered."""
        if self._writer is not None:
            self._writer.close()

    def _writing(self, step: int) -> Any:
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=step)
        return self._writer


class WeightsAndBiases:
    """A run of Weights & Biases; a resumed stage goes on in the same one."""

    def __init__(self, folder: Path, *, mode: str, project: str, name: str) -> None:
        try:
            import wandb
        except ImportError:
            raise ValueError(
                f"watch.wandb: {mode} needs the package wandb; pip install wandb, or set it to null"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._run = wandb.init(
            dir=str(folder), mode=mode, project=project, name=name, id=digest_json([str(folder.resolve())]),
            resume="allow",
        )  # fmt: skip

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One record, figures named KIND/FIGURE."""
        self._run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def picture(self, name: str, step: int, path: Path) -> None:
        """One picture."""
        self._run.log({name: self._wandb.Image(str(path))}, step=step)

    def close(self) -> None:
        """Write what is buffered and end the run."""
        self._run.finish()
