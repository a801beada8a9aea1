"""`make rehearsal`: the full-size runs, a step per stage, on stand-ins for data and weights."""
