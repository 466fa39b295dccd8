"""Recognizes IP addresses that lead to the host itself, in any spelling."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Ip = IPv4Address | IPv6Address
HOST = "an address of this host"
_REFUSED: dict[str, tuple[str, ...]] = {
    HOST: ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"),
    "an address of this host's link": (
        "169.254.0.0/16",
        "fe80::/10",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "ff00::/8",
    ),
    "an address for host metadata in clouds": (
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    ),
}
_NETWORKS: list[tuple[IPv4Network | IPv6Network, str]] = [
    (ip_network(network), what) for what, networks in _REFUSED.items() for network in networks
]
_HOLD_IPV4 = (ip_network("64:ff9b::/96"), ip_network("::/96"))
"""IPv6 networks whose addresses end with an IPv4 address: NAT64, and IPv4-compatible addresses."""


def meant(host: str) -> Ip:
    """Parse an address. If an IPv6 address contains an IPv4 address, return the IPv4 address. Raises ValueError."""
    ip = ip_address(host)
    if isinstance(ip, IPv4Address):
        return ip
    inner = ip.ipv4_mapped or ip.sixtofour
    if inner is None and int(ip) > 1 and any(ip in network for network in _HOLD_IPV4):
        inner = IPv4Address(int(ip) & 0xFFFFFFFF)
    return inner or IPv6Address(int(ip))


def spelled(ip: Ip, port: int) -> str:
    """Format address and port: ``127.0.0.1:80``, ``[::1]:80``."""
    return f"[{ip}]:{port}" if isinstance(ip, IPv6Address) else f"{ip}:{port}"


def what_is(ip: Ip) -> str:
    """Return the reason why users' channels may not reach an address, or "" if the address alone shows no reason."""
    return next((what for network, what in _NETWORKS if ip in network), "")
