"""The network: attention, transformer, renderer, motion head. No disk, no losses."""

from wildrayzer.models.wildrayzer import ViewSynthesis, WildRayZer

__all__ = ["ViewSynthesis", "WildRayZer"]
