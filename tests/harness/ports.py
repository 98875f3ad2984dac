"""Free ports of the loopback interface."""

import socket


def free_port():
    """A port that nobody listens on now; somebody else may take it before the caller does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
