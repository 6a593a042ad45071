"""Characterise."""
