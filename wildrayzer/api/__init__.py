"""The Python API, `import wildrayzer as wr`: models from photos to views and masks, caches and frame stores as arrays.

docs/python.md is its manual. The names of `wildrayzer/__init__.py` are stable; everything else in the package is not.
"""
