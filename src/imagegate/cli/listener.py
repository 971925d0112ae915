"""The port that `serve` and `demo` take before they open anything else."""

import errno
import socket

from imagegate.errors import OperatorError


def bind(host: str, port: int, verb: str) -> socket.socket:
    """The port is ours from now on, but nobody can connect yet. Raises OperatorError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OperatorError(f"{host!r} is not an address to listen on: {error.strerror}.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise refused(error, host, port, verb) from None
    return listener


def refused(error: OSError, host: str, port: int, verb: str) -> OperatorError:
    taken = error.errno == errno.EADDRINUSE
    why = "is taken" if taken else f"cannot be listened on: {error.strerror}"
    other = port + 1 if taken and port < 65535 else 8080
    return OperatorError(f"Port {port} of {host} {why}. Choose another: imagegate {verb} --port {other}")


def base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
