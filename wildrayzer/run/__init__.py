"""What a run is: its paths, the scores that it makes, and the recipes of its rows."""
