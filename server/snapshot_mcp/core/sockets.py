"""Listening sockets."""

import socket


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
