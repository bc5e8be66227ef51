"""Ask a web service politely: tries with growing pauses, Retry-After, a rate, limits of size and time.

Built on `httpx`, which the extra `download` installs.
"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

from protgen.documents import number_in
from protgen.errors import DataError, UsageError

AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers that a later try may not have
LONGEST_WAIT = 300.0  # s between two tries, whatever a server says
NAME = "protgen data download"
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


class UnreachableError(DataError):
    """A service that gave no answer that can be used; the message names the address and the reason."""


class MissingError(UnreachableError):
    """A service that says that it has no such thing (404, 410)."""


@dataclass(frozen=True)
class Manners:
    """How a service is asked.

    Attributes:
        rate: requests a second at the most.
        tries: of each request.
        timeout: seconds to wait for a connection, and for each piece of an answer.
        most_seconds: of one answer.
        most_bytes: of one answer.
        pause: seconds before the second try; twice as long before each further one, with a random part.
    """

    rate: float = 5.0
    tries: int = 5
    timeout: float = 30.0
    most_seconds: float = 900.0
    most_bytes: int = 200_000_000
    pause: float = 1.0


class Asker:
    """Asks one request after the other; a context, whose end closes the connections.

    Args:
        manners: how.
        sleep: waits so many seconds.

    Raises:
        UsageError: if httpx is not installed, or cannot use what the environment says of proxies and certificates.
    """

    def __init__(self, manners: Manners, sleep: Callable[[float], None] = time.sleep) -> None:
        try:
            import httpx
        except ImportError:
            raise UsageError("downloading needs httpx; pip install 'protgen[download]'") from None
        self.manners = manners
        self.sleep = sleep
        self.errors = httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects
        headers = {"User-Agent": NAME, "Accept-Encoding": "identity"}  # what is packed stays packed, and is checked so
        self.strange = httpx.InvalidURL, UnicodeError  # idna's error of a host's name is one of Unicode
        try:
            self.client: httpx.Client = httpx.Client(timeout=manners.timeout, follow_redirects=True, headers=headers)
        except (ImportError, httpx.InvalidURL, ValueError, OSError) as error:
            raise UsageError(environment_problem(error)) from None
        self._last = -1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()

    def get(self, url: str, check: Callable[[bytes], None] = lambda _: None) -> bytes:
        """The content of an address.

        Args:
            url: the address.
            check: raises a `DataError` or `StructureError` for content that is not what was asked for; such an answer
                is one more to be tried again, as a broken proxy may have given it.

        Raises:
            MissingError: if there is no such thing.
            UnreachableError: if no try gave it.
        """
        return self._tried("GET", url, None, check)

    def post(self, url: str, content: Any) -> bytes:
        """The answer to a JSON document; empty for "no content". Errors as of `get`."""
        return self._tried("POST", url, content, lambda _: None)

    def _tried(self, method: str, url: str, content: Any, check: Callable[[bytes], None]) -> bytes:
        from protgen.errors import StructureError

        problem, wait, shown = "", self.manners.pause, url[:200]
        try:
            self.client.build_request(method, url)
        except self.strange as error:
            raise MissingError(f"{shown!r} is no address ({error})") from None
        for attempt in range(self.manners.tries):
            if attempt:
                self.sleep(min(wait, LONGEST_WAIT))
            self._keep_rate()
            asked = 0.0
            try:
                status, asked, data = self._answer(method, url, content)
                if status < 300:
                    check(data)
                    return data
                problem = f"HTTP {status}"
            except (DataError, StructureError) as error:
                problem = str(error)
            except self.errors as error:
                problem = f"{type(error).__name__}: {error}".strip(": ")
            else:
                if status in (404, 410):
                    raise MissingError(f"{shown}: there is no such thing (HTTP {status})")
                if status not in AGAIN:
                    raise UnreachableError(f"{shown}: refused (HTTP {status})")
            wait = max(asked, self.manners.pause * 2**attempt * random.uniform(1.0, 1.5))
        raise UnreachableError(f"{shown}: {' '.join(problem.split())[:200]}, after {self.manners.tries} tries")

    def _answer(self, method: str, url: str, content: Any) -> tuple[int, float, bytes]:
        """Status, seconds to wait that the server asks for, and content of one answer."""
        begun, parts, size = time.monotonic(), [], 0
        try:
            with self.client.stream(method, url, json=content) as response:
                declared = response.headers.get("Content-Length", "")
                if declared.isascii() and declared.isdigit() and int(declared[:18]) > self.manners.most_bytes:
                    raise UnreachableError(f"has {declared[:18]} bytes, more than {self.manners.most_bytes:,}")
                for part in response.iter_raw():
                    parts.append(part)
                    size += len(part)
                    if size > self.manners.most_bytes:
                        raise UnreachableError(f"sends more than {self.manners.most_bytes:,} bytes")
                    if time.monotonic() - begun > self.manners.most_seconds:
                        raise UnreachableError(f"takes more than {self.manners.most_seconds:g} s")
                return response.status_code, seconds_of(response.headers.get("Retry-After", "")), b"".join(parts)
        except self.strange as error:
            raise UnreachableError(f"redirects to what is no address ({error})") from None

    def _keep_rate(self) -> None:
        """Wait until the next request may go out."""
        left = self._last + 1.0 / self.manners.rate - time.monotonic()
        if left > 0:
            self.sleep(left)
        self._last = time.monotonic()


def seconds_of(text: str) -> float:
    """The seconds of a Retry-After header, which is a number or a date; 0 for anything else.

    Examples:
        >>> seconds_of("7"), seconds_of("soon"), seconds_of("Thu, 01 Jan 1970 00:00:00 GMT")
        (7.0, 0.0, 0.0)
    """
    try:
        return max(0.0, number_in(text))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def environment_problem(error: Exception) -> str:
    """Which variable of the environment keeps httpx from being used, in one line; what it holds may be a password.

    Args:
        error: what httpx raised as its client was made.
    """
    import httpx

    if isinstance(error, OSError):
        named = next((name for name in CERTIFICATES if os.environ.get(name)), "the certificates of this Python")
        return f"{named}: no certificates can be read there ({error.strerror or error}); correct or unset it"
    for name in (name for each in PROXIES for name in (each, each.lower()) if os.environ.get(name)):
        address = os.environ[name]
        try:
            httpx.Client(proxy=address if "://" in address else f"http://{address}", trust_env=False).close()
        except ImportError:
            return f"{name} names a SOCKS proxy, which needs the package socksio; pip install socksio, or unset it"
        except (httpx.InvalidURL, ValueError):
            return f"{name} is no address of a proxy; give http://HOST:PORT, or unset it"
    return "the proxies of this system cannot be used; correct HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
