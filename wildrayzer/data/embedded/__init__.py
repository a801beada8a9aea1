"""The embedded procedural data set: textured box rooms by true perspective projection, written in outside layouts."""
