"""Runs that ablations make of a run: their configurations, and the stages that are their own."""

from typing import Any

from wildrayzer.config.base import ConfigError
from wildrayzer.config.sections.ablations import BUILT_IN, STAGES, AblationConfig
from wildrayzer.config.sections.run import RunConfig
from wildrayzer.config.validation import validated

_SECTIONS = {
    "residuals": ("residuals", "features"),
    "pseudo_masks": ("pseudo_masks",),
    "refine": ("refine",),
    "distill": ("distill", "model"),
    "masked": ("masked",),
    "joint": ("joint", "paste"),
}
"""Sections that a stage depends on, beside those of the stages before it."""
_CHANGEABLE = ("residuals.", "features.", "pseudo_masks.", "refine.", "distill.", "masked", "joint.", "paste.",
               "rounds", "model.motion_head.")  # fmt: skip
_WINDOWS = ("residuals.targets", "residuals.inputs")


def ablations_of(config: RunConfig) -> dict[str, AblationConfig]:
    """All ablations that a run has targets for; built-in ones that change nothing in it are left out."""
    usable: dict[str, AblationConfig] = {}
    for name, ablation in BUILT_IN.items() if config.learns_motion else ():
        try:
            own_stages(config, name, ablation)
        except ConfigError:
            continue  # such as random tokens in a run without masked reconstruction
        usable[name] = ablation
    return {**usable, **config.ablations}


def ablation_of(config: RunConfig, name: str) -> AblationConfig:
    """An ablation of a run by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    known = {**(BUILT_IN if config.learns_motion else {}), **config.ablations}
    if name not in known:
        raise ConfigError(f"ablations.{name}: no such ablation; known: {', '.join(known)}")
    return known[name]


def variant_of(config: RunConfig, name: str, ablation: AblationConfig) -> RunConfig:
    """The configuration of an ablation.

    Raises:
        ConfigError: an option that cannot be changed, is unknown, or gets an impossible value.
    """
    raw = config.model_dump(mode="json")
    raw["ablations"], raw["benchmark"]["ablations"] = {}, []
    for option, value in ablation.changes.items():
        fixed = not option.startswith(_CHANGEABLE) or option in _WINDOWS
        if fixed:
            raise ConfigError(
                f"ablations.{name}: {option} cannot be changed, since data, windows and the pretrained renderer are "
                "shared; give a run of its own another name"
            )
        *path, last = option.split(".")
        place: dict[str, Any] = raw
        for part in path:
            inner = place.get(part)
            if not isinstance(inner, dict):
                raise ConfigError(f"ablations.{name}: {option} is not there to change ({part} is {inner!r})")
            place = inner
        place[last] = value
    return validated(raw, source=f"ablations.{name}")


def own_stages(
    config: RunConfig, name: str, ablation: AblationConfig, variant: RunConfig | None = None
) -> frozenset[str]:
    """Stages that an ablation does not share with the run.

    Args:
        config: of the run.
        name: of the ablation.
        ablation: its options.
        variant: its configuration (`variant_of`), where that is known already.

    Raises:
        ConfigError: as `variant_of`, or an ablation that changes nothing, or only what comes after its last stage, or
            the number of rounds and something else.
    """
    variant = variant or variant_of(config, name, ablation)
    last = STAGES.index(ablation.until)
    changed = [
        stage
        for stage, sections in _SECTIONS.items()
        if any(getattr(config, section) != getattr(variant, section) for section in sections)
    ]
    if variant.rounds != config.rounds:
        if changed:
            raise ConfigError(f"ablations.{name} changes rounds and {changed[0]}; change one of them")
        changed = [STAGES[0]]
    if not changed or STAGES.index(changed[0]) > last:
        raise ConfigError(
            f"ablations.{name} changes nothing up to its last stage, {ablation.until}; change an option, or give a "
            "later `until`"
        )
    first = STAGES.index(changed[0])
    if config.rounds > 1 and ablation.until == "joint":
        first = 0  # residuals of the second round come from the first round's joint model
    own = STAGES[first : last + 1]
    return frozenset(stage for stage in own if stage != "masked" or variant.masked is not None)
