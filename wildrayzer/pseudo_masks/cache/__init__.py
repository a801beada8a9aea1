"""The pseudo-mask cache: Zarr v3 arrays at patch resolution."""
