"""Listening sockets, and how many of them and of other files the system allows."""

import socket
import sys


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket. Clients that connect before it is served wait in its queue.

    Raises:
        OSError: the port is in use, or not allowed.
        OverflowError: the port number is out of range.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio sets this on the sockets it creates. Without it, a response body waits for the
    # acknowledgement of its headers, which many clients delay by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def max_open_files() -> int:
    """Return the number of files and sockets that this process may have open."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource  # noqa: PLC0415 - only POSIX has it

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
