"""Which proxy leads to a web server: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, as curl reads them."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from urllib.request import getproxies


class Proxies:
    """What the environment says about proxies when this is made."""

    def __init__(self) -> None:
        said = getproxies()
        self._by_scheme = {scheme: _with_scheme(url) for scheme, url in said.items() if scheme != "no"}
        self._direct = [entry for entry in re.split(r"[,\s]+", said.get("no", "").lower()) if entry]

    def proxy_of(self, scheme: str, host: str, port: int) -> str | None:
        """The proxy's URL for a server; None where it is asked directly."""
        url = self._by_scheme.get(scheme) or self._by_scheme.get("all")
        if not url or any(_means(entry, host.strip("[]").rstrip(".").lower(), port) for entry in self._direct):
            return None
        return url


def _with_scheme(url: str) -> str:
    return url if "://" in url or not url else f"http://{url}"


def _means(entry: str, host: str, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` means a host: a name with all below it, an address, a network, ``*``."""
    if entry == "*":
        return True
    with suppress(ValueError):
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        with suppress(ValueError):
            return ipaddress.ip_address(host) in network
        return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        if int(wanted) != port:
            return False
        entry = name.strip("[]")
    name = entry.lstrip("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
