"""The umask of this process, which limits the modes of files that it creates."""

import os
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def use_umask(mask: int) -> Generator[None]:
    """Use a umask in this block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
