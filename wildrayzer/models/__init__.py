"""The network: attention, transformer, renderer, motion head. No disk, no losses."""
