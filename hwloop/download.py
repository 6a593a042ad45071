"""Download of MNIST, for those who want it; nothing in hwloop downloads unasked."""

from __future__ import annotations

import gzip
import io
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import DataError
from .files import MNIST_MD5, check_md5
from .storage import write_bytes

#: Folders on the web that hold the four gzip files, tried in this order.
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
#: Longest wait for a silent server (s): long for a slow link, short for a person watching.
TIMEOUT = 30.0
#: Largest archive and largest unpacked file accepted (bytes); the real ones hold 9.9 MB and 47 MB.
MAX_ARCHIVE_BYTES, MAX_UNPACKED_BYTES = 2**24, 2**26


def fetch(url: str) -> bytes:
    """Content behind ``url``, up to ``MAX_ARCHIVE_BYTES``."""
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        data: bytes = answer.read(MAX_ARCHIVE_BYTES + 1)
    if len(data) > MAX_ARCHIVE_BYTES:
        raise OSError(f"more than {MAX_ARCHIVE_BYTES} bytes")
    return data


def download_mnist(
    folder: Path | str, *, mirrors: Sequence[str] = MNIST_MIRRORS, get: Callable[[str], bytes] = fetch
) -> Path:
    """Put the four gzip files of MNIST into ``folder``, each verified by its MD5 before it is stored.

    Files that are there already are kept. Returns ``folder``.

    Raises :class:`DataError` where no mirror answers with the right content: what each said, and what to do.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {folder}: {error.strerror}; name a folder that is writable") from error
    for name, md5 in MNIST_MD5.items():
        path = folder / f"{name}.gz"
        if not path.is_file():
            write_bytes(path, _from_a_mirror(f"{name}.gz", md5, mirrors, get))
    return folder


def _from_a_mirror(name: str, md5: str, mirrors: Sequence[str], get: Callable[[str], bytes]) -> bytes:
    failures = []
    for mirror in mirrors:
        url = f"{mirror}/{name}"
        try:
            data = get(url)
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                check_md5(url, file.read(MAX_UNPACKED_BYTES), md5)
            return data
        except (OSError, EOFError, zlib.error, DataError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            failures.append(f"{url}: {reason}")
    raise DataError(
        f"no mirror gave {name} ({'; '.join(failures)}). Without a network, copy the four files "
        f"{', '.join(f'{n}.gz' for n in MNIST_MD5)} into a folder and name it with --data DIR"
    )
