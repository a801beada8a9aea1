"""Tables: a pure function of the scores."""
