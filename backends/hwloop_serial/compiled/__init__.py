"""Compiled loops of the link: what no array operation does."""
