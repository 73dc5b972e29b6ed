"""Listening sockets, and the number of files and sockets that a process may have open."""

import socket
import sys
from math import inf


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


def raise_open_file_limit(wanted: int) -> int:
    """Let this process have `wanted` files and sockets open, or as many as the system allows.

    Returns:
        The limit that applies now, at most `wanted`.
    """
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415 - only POSIX has it

    def limit(value: int) -> float:
        return inf if value == resource.RLIM_INFINITY else value

    current, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = int(min(wanted, limit(maximum)))
    if limit(current) >= raised:
        return raised
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, maximum))
    except (OSError, ValueError):  # macOS has a second limit
        return current
    return raised
