"""Peak memory of `wildrayzer released import` on a full-size checkpoint of random weights, against the file's size.

    python benchmarks/import_memory.py [--optimiser-state] [--folder DIR]

The peak is the kernel's `ru_maxrss` of the whole command: interpreter, torch and mapped pages of the file count too.
`--optimiser-state` adds two tensors a weight to the file, as the release's own training checkpoints have them.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch

from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.models import WildRayZer
from wildrayzer.released.keys import CONSTANTS, released_name

AIM = 1.5


def full_size() -> ModelConfig:
    """The released network: width 768, 12 + 8 + 12 blocks, 768 scene tokens, 256 px, motion head for ViT-B features."""
    return ModelConfig(motion_head=MotionHeadConfig())


def write_checkpoint(path: Path, *, optimiser_state: bool) -> None:
    """Random weights under the release's names."""
    state = {released_name(name): value.detach() for name, value in WildRayZer(full_size()).state_dict().items()}
    state |= {name: torch.tensor(values).view(1, 3, 1, 1) for name, values in CONSTANTS.items()}
    content: dict[str, object] = {"model": state}
    if optimiser_state:
        content["optimizer"] = {"state": {name: [value, value.square()] for name, value in state.items()}}
    torch.save(content, path)


def peak_of_import(checkpoint: Path, out: Path) -> int:
    """Peak resident memory of the command, in bytes."""
    program = Path(sys.executable).with_name("wildrayzer")
    process = os.spawnv(os.P_NOWAIT, program, [str(program), "released", "import", str(checkpoint), "--out", str(out)])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"released import failed with status {os.waitstatus_to_exitcode(status)}")
    if not (out / "model.safetensors").is_file():
        raise SystemExit("released import wrote nothing")
    return usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimiser-state", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is written; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        checkpoint = Path(folder) / "released.pt"
        write_checkpoint(checkpoint, optimiser_state=arguments.optimiser_state)
        size = checkpoint.stat().st_size
        peak = peak_of_import(checkpoint, Path(folder) / "imported")
    print(f"file {size / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB, ratio {peak / size:.2f} (aim: below {AIM})")


if __name__ == "__main__":
    main()
