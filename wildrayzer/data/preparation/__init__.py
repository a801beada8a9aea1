"""From readers to a frame store: parts, counts, and the report of what was left out."""
