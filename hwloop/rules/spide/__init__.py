"""Spide."""
