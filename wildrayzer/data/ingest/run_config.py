"""Configuration of a run on an ingested set."""

import copy
import re
from pathlib import Path
from typing import Any, Literal

import yaml

from wildrayzer.config import ConfigError, parse_config
from wildrayzer.config.renames import with_new_names
from wildrayzer.io.files import read_json

CONFIG = "config.yaml"
"""File name of the configuration beside the set."""


class _Plain(yaml.SafeDumper):
    """Writes shared sections out in full, so that editing one does not change another."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def split_entry(folder: Path, role: Literal["static", "dynamic"]) -> dict[str, str]:
    """The set as a training split, for `data.splits`."""
    return {"layout": "lvsm", "path": str(folder), "role": role, "purpose": "train"}


def derive(
    base: Path,
    folder: Path,
    *,
    role: Literal["static", "dynamic"] = "dynamic",
    pretrained: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """A complete configuration from another one, with the set in `folder` as its training split of that role.

    The run is called `name`, by default after the folder.

    Own videos have no masks and no clean twins, so the other dynamic splits and pairs of `base`, which are there for
    tables, are left out; its static splits stay: later stages train on them too, and one is the renderer's test.
    With `pretrained` the section `model` is the checkpoint's.

    Raises:
        ConfigError: `base` cannot run, or the result cannot; the message names the options.
    """
    try:
        raw = yaml.safe_load(base.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"--base {base}: no such configuration file; see config/ for the ones that ship") from None
    except IsADirectoryError:
        raise ConfigError(f"--base {base}: a folder; name a configuration file in it") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--base {base}: not readable as YAML: {error}") from None
    parse_config(raw, source=str(base))
    made: dict[str, Any] = copy.deepcopy(with_new_names(raw, source=str(base)))
    made["name"] = name or re.sub(r"[^A-Za-z0-9._-]+", "_", folder.resolve().name).strip("._-") or "own"
    if pretrained is not None:
        made |= {"pretrained": pretrained, "model": _model_of(pretrained, made.get("model", {}))}
    data = made["data"]
    own, replaced = f"own_{role}", data[f"{role}_train"]
    splits = {key: split for key, split in data["splits"].items() if key not in (replaced, own)}
    if role == "dynamic":
        splits = {key: split for key, split in splits.items() if split["role"] == "static"}
    data["splits"] = {own: split_entry(folder, role), **splits}
    data[f"{role}_train"] = own
    embedded = data.get("embedded") or {}
    needed = {key for key, split in splits.items() if split["layout"] == "embedded"}
    needed |= {
        embedded["splits"][key].get(reused) for key in needed for reused in ("reuse_seed_of", "reuse_cameras_of")
    }
    if "splits" in embedded:
        embedded["splits"] = {key: split for key, split in embedded["splits"].items() if key in needed}
    _keep_what_is_scored(made)
    parse_config(made, source=f"{base} with {folder} as {own}")
    return made


def _keep_what_is_scored(made: dict[str, Any]) -> None:
    """Leave out index files, mask tables and ablations of splits that are gone."""
    splits, benchmark = made["data"]["splits"], made.get("benchmark") or {}
    if "index" in benchmark:
        benchmark["index"] = {key: file for key, file in benchmark["index"].items() if key in splits}
    if benchmark.get("mask_splits"):
        benchmark["mask_splits"] = [key for key in benchmark["mask_splits"] if key in splits]
    ablations = made.get("ablations") or {}
    gone = {name for name, ablation in ablations.items() if not set(ablation.get("splits", splits)) <= set(splits)}
    if gone:
        made["ablations"] = {name: ablation for name, ablation in ablations.items() if name not in gone}
    if "ablations" in benchmark:
        benchmark["ablations"] = [name for name in benchmark["ablations"] if name not in gone]


def _model_of(pretrained: str, base: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint's network, with those options of `base` that change speed, memory or the gate alone.

    A renderer without motion head is given the one of `base`.
    """
    manifest = Path(pretrained) / "manifest.json"
    if not manifest.is_file():
        raise ConfigError(f"--pretrained {pretrained}: no checkpoint here, manifest.json is missing; name its folder")
    content = read_json(manifest)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise ConfigError(f"--pretrained {pretrained}: {manifest} is no manifest of a checkpoint; name another folder")
    kept = ["attention", "checkpoint_every"]
    if model.get("motion_head") is None:
        model.pop("motion_head", None)
        kept.append("motion_head")
    elif (head := base.get("motion_head")) and "threshold" in head:
        model["motion_head"]["threshold"] = head["threshold"]
    return {**model, **{key: base[key] for key in kept if key in base}}


def config_text(
    base: Path | None,
    folder: Path,
    *,
    role: Literal["static", "dynamic"] = "dynamic",
    pretrained: str | None = None,
    name: str | None = None,
) -> str:
    """`config.yaml` of a set: complete if there is a base (see `derive`), else the lines of its split.

    Raises:
        ConfigError: see `derive`.
    """
    if base is None:
        head = "Add this split to a configuration, and name it under data.dynamic_train or data.static_train."
        content: dict[str, Any] = {"data": {"splits": {f"own_{role}": split_entry(folder, role)}}}
    else:
        head = f"Made from {base}, with {folder} in place of its training clips. Edit it as any other configuration."
        content = derive(base, folder, role=role, pretrained=pretrained, name=name)
    return f"# {head}\n" + yaml.dump(
        content, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )
