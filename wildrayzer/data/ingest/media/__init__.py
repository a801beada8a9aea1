"""Decoding: frames of videos and animated pictures, which of them are taken, and the window of each."""
