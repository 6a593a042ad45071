"""The device's side of the link: any in-process target as a board."""
