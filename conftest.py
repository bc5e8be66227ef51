"""For all tests: no network; collection in less time.

No garbage is looked for while modules are imported, and files without examples stay out.
"""

import gc
import ipaddress
import socket
from pathlib import Path
from typing import Any

gc.disable()  # modules that are imported stay; looking through them again and again takes a fifth of collection


class NetworkUsedError(RuntimeError):
    """A test asked for another machine; no OSError, which code under test may take for a network that is down."""


def pytest_configure() -> None:
    """Keeps tests of this process from the network; what they start as commands of their own is not looked at."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def checked_connect(self: socket.socket, address: Any) -> None:
        require_here(self, address)
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        require_here(self, address)
        return connect_ex(self, address)

    def checked_getaddrinfo(host: Any, *arguments: Any, **keywords: Any) -> Any:
        if host and not is_here(host) and not is_address(host):  # of a name, another machine would be asked
            raise NetworkUsedError(f"a test asks for the address of {host!r}; tests use no network")
        return getaddrinfo(host, *arguments, **keywords)

    socket.socket.connect = checked_connect
    socket.socket.connect_ex = checked_connect_ex
    socket.getaddrinfo = checked_getaddrinfo


def require_here(connection: socket.socket, address: Any) -> None:
    """Raise where a connection leaves this machine; UDP, by which programs learn their own address, sends nothing."""
    by_network = connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM
    if by_network and not is_here(address[0]):
        raise NetworkUsedError(f"a test connects to {address[0]}; tests use no network")


def is_address(host: Any) -> bool:
    """Whether a host is a number and no name."""
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host).partition("%")[0])
    except ValueError:
        return False
    return True


def is_here(host: Any) -> bool:
    """Whether a host is this machine, by its loopback or its own name."""
    name = host.decode() if isinstance(host, bytes) else str(host)
    if is_address(name):
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    return name in ("", "localhost", socket.gethostname(), "localhost.localdomain")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out the package's modules that have no example to run: each is imported by the tests of what it does."""
    if "protgen" not in collection_path.parts or collection_path.suffix != ".py":
        return None
    package = Path(__file__).parent / "protgen"
    if package in collection_path.parents and ">>>" not in collection_path.read_text(encoding="utf-8"):
        return True
    return None


def pytest_collection_finish() -> None:
    """Looks for garbage again, but not among what collection has made: it stays to the end."""
    gc.collect()
    gc.freeze()
    gc.enable()
