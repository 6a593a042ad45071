"""Yield."""
