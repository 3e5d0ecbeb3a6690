"""Free ports for servers that are started, killed and started again on the port they had.

Not what bind(0) gives: those ports are of the range that every outgoing connection on this machine takes its own from (of another test that runs
beside, or of hosts that try to reach the very server that is down), and whoever has it meanwhile keeps the server from coming back.
"""
import random
import socket

LOWEST = 10000
RANGE = "/proc/sys/net/ipv4/ip_local_port_range"


def below_outgoing():
    """The first port of those that outgoing connections get."""
    with open(RANGE, encoding="ascii") as lowest:
        return int(lowest.read().split()[0])


def free_ports(count):
    """So many different ports of 127.0.0.1, free now."""
    end, found = below_outgoing(), []
    if end < LOWEST + 1000:  # a machine that gives everything to outgoing connections
        end = 65536
    while len(found) < count:
        port = random.SystemRandom().randrange(LOWEST, end)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
