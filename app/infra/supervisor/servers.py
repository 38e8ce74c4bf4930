"""The embedded servers while everything runs: one that dies is started again, with growing pauses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.config import Settings
from app.errors import Misconfigured
from app.infra import embedded
from app.infra.embedded import Server, State
from app.infra.supervisor.process import describe_exit
from app.infra.supervisor.restarts import Backoff


class ServerWatch:
    """Looks after running servers. Times are seconds on the monotonic clock."""

    def __init__(self, config: Settings, servers: Sequence[Server], say: Callable[[str], None], *, at: float) -> None:
        self._config = config
        self._servers = servers
        self._say = say
        self._backoff = {server.name: Backoff() for server in servers}
        self._start_at: dict[str, float] = {}
        self._ready_at = {server.name: at for server in servers}
        self._starting: set[str] = set()
        self._urls = {server.name: server.url for server in servers}

    def look(self, *, at: float) -> bool:
        """Restart what died. True when a server came back under another address: its users must start again."""
        moved = [self._look_at(server, at) for server in self._servers]
        return any(moved)

    def _look_at(self, server: Server, at: float) -> bool:
        due = self._start_at.get(server.name)
        try:
            if due is not None:
                if at >= due:
                    del self._start_at[server.name]
                    self._starting.add(server.name)
                    server.spawn()
                return False
            state = server.state()
        except (Misconfigured, OSError) as error:
            return self._plan(server, at, f"does not start: {error}")
        if state is State.DEAD:
            code = server.exit_code
            ended = "is gone" if code is None else f"ended ({describe_exit(code)})"
            return self._plan(server, at, f"{ended}: {server.why_dead()}")
        if state is State.READY and server.name in self._starting:
            return self._came_back(server, at)
        return False

    def _plan(self, server: Server, at: float, what: str) -> bool:
        alive = 0.0 if server.name in self._starting else at - self._ready_at[server.name]
        wait, self._backoff[server.name] = self._backoff[server.name].after_death(alive_seconds=alive)
        self._start_at[server.name] = at + wait
        self._starting.discard(server.name)
        self._say(f"{server.label} {what}; starting again in {wait:.0f} s")
        return False

    def _came_back(self, server: Server, at: float) -> bool:
        self._starting.discard(server.name)
        self._ready_at[server.name] = at
        self._say(f"{server.label} is back (pid {server.pid})")
        embedded.publish(self._config, self._servers)
        moved = server.url != self._urls[server.name]
        self._urls[server.name] = server.url
        return moved
