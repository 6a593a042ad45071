"""Many emulated chips beside each other: what the modules of one chip do, bit for bit, for all in few calls."""
