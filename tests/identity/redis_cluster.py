"""A cluster of three servers on loopback, each a master with a third of the slots. Keeps nothing on disk."""

import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from redis import Redis
from redis.exceptions import RedisError

from tests.identity.redis_server import find_program

SERVERS, SLOTS, PATIENCE_S = 3, 16_384, 20
OPTIONS = ("--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", "", "--appendonly", "no")


def free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listening.getsockname()[1]) for listening in taken]
    for listening in taken:
        listening.close()
    return ports


class RedisCluster:
    """url: of one of the servers."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="igc")
        ports = free_ports(2 * SERVERS)
        self.ports, self._buses = ports[:SERVERS], ports[SERVERS:]
        self.url = f"redis+cluster://127.0.0.1:{self.ports[0]}"
        self._processes = [self._start(number) for number in range(SERVERS)]

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        folder = Path(self._folder.name) / str(number)
        folder.mkdir()
        ports = ("--port", str(self.ports[number]), "--cluster-port", str(self._buses[number]))
        argv = [find_program(), *OPTIONS, *ports, "--dir", str(folder)]
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL)

    def join(self) -> None:
        """Share the slots out, and wait until every server knows of all."""
        clients = [Redis(port=port) for port in self.ports]
        for client in clients:
            wait_until(client, lambda answer: True, "PING")
        edges = [SLOTS * number // SERVERS for number in range(SERVERS + 1)]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", edges[number], edges[number + 1] - 1)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.ports[0], self._buses[0])
        for client in clients:
            wait_until(client, lambda answer: "cluster_state:ok" in answer, "CLUSTER", "INFO")
            client.close()

    def kill(self, number: int) -> None:
        self._processes[number].kill()
        self._processes[number].wait()

    def close(self) -> None:
        for number in range(len(self._processes)):
            self.kill(number)
        self._folder.cleanup()


def wait_until(client: Redis, good: Callable[[str], bool], *command: str) -> None:
    until = monotonic() + PATIENCE_S
    while True:
        try:
            answer = client.execute_command(*command)
            if good(answer.decode() if isinstance(answer, bytes) else str(answer)):
                return
        except RedisError:
            pass
        assert monotonic() < until, f"waited in vain for {command}"
        sleep(0.02)
