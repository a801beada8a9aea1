"""`wildrayzer app`: the method in a browser, on the Python API. docs/app.md is its manual.

Only `serve`, `page`, `components` and `pseudo_masks_tab` need gradio (`pip install "wildrayzer[app]"`). The rest is
plain Python over `wildrayzer.api`.
"""
