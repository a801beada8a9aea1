"""Rows of the tables: what renders or masks, ours and from outside."""
