"""A port of this machine to listen at."""

import socket


def bind_socket(host: str, port: int) -> socket.socket:
    """A listening socket: from here on, callers wait for an answer instead of being refused.

    Raises:
        OSError: the port is not free, or not allowed.
        OverflowError: there is no such port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio does this for sockets of its own; without it, a reply's body waits for an
    # acknowledgement of its head, which many callers hold back for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
