"""What the private environment of lava-nc consists of; a change here makes every environment of before stale.

lava-nc 0.10.0, the newest release, declares Python below 3.11 and numpy below 2, and its wheel brings a top-level
package ``tests``: hence an environment of its own, where its declared requirements are not looked at and what it
needs is pinned here. One set serves Python 3.10 to 3.13.
"""

from __future__ import annotations

import hashlib
import json

#: Interpreters that the environment may be made from: first and last (major, minor).
PYTHON_MIN, PYTHON_MAX = (3, 10), (3, 13)
#: What lava-nc imports on the way to its CPU models, in versions with wheels for all of these interpreters.
REQUIREMENTS = ("numpy==2.2.6", "scipy==1.15.3", "asteval==1.0.6", "networkx==3.4.2")
LAVA_VERSION = "0.10.0"
#: SHA-256 of the one wheel of that version.
LAVA_HASH = "d646723e888a72868dac77d31beee3eef1f540366a8c1a8578a2dc3302470926"
LAVA_REQUIREMENT = f"lava-nc=={LAVA_VERSION} --hash=sha256:{LAVA_HASH}"
#: Counts up when the self-test asks for more than before.
SELF_TEST = 1


def digest() -> str:
    """SHA-256 over the recipe, hexadecimal."""
    content = [REQUIREMENTS, LAVA_REQUIREMENT, PYTHON_MIN, PYTHON_MAX, SELF_TEST]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
