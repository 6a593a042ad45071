"""Many."""
