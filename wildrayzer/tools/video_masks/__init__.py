"""From videos to motion masks with one command: ingest, the stages of the workflow, exports and a page."""
