"""`wildrayzer app`: the method in a browser, on the Python API. docs/app.md is its manual.

Only `page` and `serve` need gradio (`pip install "wildrayzer[app]"`); the rest is plain Python over `wildrayzer.api`.
"""
