"""Tests reach no other machine: the guard of `conftest.py` raises, and lets this machine through."""

import socket

import pytest

ELSEWHERE = "192.0.2.1"  # an address that is nobody's, for documents


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, ELSEWHERE), (socket.AF_INET6, "2001:db8::1")])
def test_another_machine_is_out_of_reach(method, family, host):
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with socket.socket(family) as connection, pytest.raises(RuntimeError, match="tests use no network"):
        getattr(connection, method)((host, 80))


def test_no_name_is_looked_up():
    with pytest.raises(RuntimeError, match=r"address of 'example\.org'; tests use no network"):
        socket.create_connection(("example.org", 80))


def test_the_client_of_downloads_is_kept_here_too():
    """And its retries do not take it for a network that is down."""
    httpx = pytest.importorskip("httpx")
    for url in (f"http://{ELSEWHERE}/", "https://example.org/"):
        with httpx.Client() as client, pytest.raises(RuntimeError, match="tests use no network"):
            client.get(url)


def test_this_machine_is_in_reach():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with socket.create_connection((host, port), timeout=5) as connection:
                assert connection.getpeername()[1] == port
