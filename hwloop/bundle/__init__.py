"""Deployment bundles: one file that holds all that a deployment consists of, and proves itself on the device."""

from .contents import Bundle as Bundle
from .contents import Golden as Golden
from .files import load_bundle as load_bundle
from .files import save_bundle as save_bundle
from .verification import Verification as Verification
from .verification import verify_bundle as verify_bundle

__all__ = [
    "Bundle", "Golden", "Verification", "load_bundle", "save_bundle", "verify_bundle",
]  # fmt: skip
