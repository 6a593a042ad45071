"""The version of this distribution; a module of its own, so that what states it imports nothing else."""

VERSION = "0.1.0"
