"""`make rehearsal`: the full-size runs, a step or two per stage, on stand-ins for data and weights."""
