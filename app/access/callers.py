"""Who is calling, and whether they may: admins everything, services what their scopes say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.access.scopes import ANY_KEY, ENDPOINTS, EVERYTHING, JOBS_SUBMIT, TENANT, TIMELINE_READ, Reach, Scope, reach_of
from app.errors import NotFound, SmmError
from app.infra.text import storable

BOOTSTRAP = "admin"
"""The name of whoever has the key of the installation; no other key may be called so."""


class Role(StrEnum):
    """What a key is for. Admins may do everything, services what their scopes say."""

    ADMIN = "admin"
    SERVICE = "service"


class NotAllowed(SmmError):
    """The caller is known, and may not do this. `scope`: what it would need; empty: it is for admins."""

    def __init__(self, caller: str, scope: str = "") -> None:
        self.caller, self.scope = caller, scope
        super().__init__(f"this key lacks the scope {scope}" if scope else "this is for keys of admins")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking; its name is kept with what it submits."""

    name: str
    role: Role
    scopes: tuple[Scope, ...] = ()

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    def require_endpoint(self, method: str, path: str) -> None:
        """Raises NotAllowed unless it may use this endpoint for anything at all. `path` with its braces."""
        needed = ENDPOINTS.get(f"{method} {path}")
        if self.is_admin or needed == ANY_KEY:
            return
        if needed is None:
            raise NotAllowed(self.name)
        if not any(scope.name == needed for scope in self.scopes):
            raise NotAllowed(self.name, needed)

    def reach(self, scope: str) -> Reach:
        """The accounts that it may use a scope for."""
        return EVERYTHING if self.is_admin else reach_of(self.scopes, scope)

    def require_account(self, scope: str, tenant: str, platform: str, external_id: str) -> None:
        """Raises NotAllowed unless it may use a scope for this account; `tenant` is empty where there is no such."""
        if not self.reach(scope).covers(tenant, platform, external_id):
            raise NotAllowed(self.name, str(Scope(scope, storable(f"{platform}/{external_id}", limit=300))))

    def tenant_within(self, scope: str, tenant: str | None, platform: str | None = None) -> str | None:
        """Whose accounts are summed up, None for all: who was asked for, else the one client that its scopes select.

        Raises NotAllowed where the sum would be of more than it may use the scope for.
        """
        reach = self.reach(scope)
        if reach.everything or platform in reach.platforms or tenant in reach.tenants:
            return tenant
        if tenant is None and len(reach.tenants) == 1:
            return next(iter(reach.tenants))
        selector = "" if tenant is None else f"{TENANT}{storable(tenant, limit=200)}"
        raise NotAllowed(self.name, str(Scope(scope, selector)))

    def require_task(self, task: str) -> None:
        """Raises NotAllowed unless it may submit jobs of this task."""
        self._require(JOBS_SUBMIT, task, task)

    def require_tasks(self, body: object) -> None:
        """`require_task` for all that a job names, as it was sent: its own, and the one that is told at its end."""
        if self.is_admin or not isinstance(body, dict):
            return
        callback = body.get("callback")
        for named in (body, callback if isinstance(callback, dict) else {}):
            if isinstance(task := named.get("task"), str):
                self.require_task(task)

    def require_own(self, caller: str | None, what: str) -> None:
        """Services see what is their own. Raises NotFound."""
        if not self.is_admin and caller != self.name:
            raise NotFound(what)

    def require_signals(self, kind: str | None) -> None:
        """Raises NotAllowed unless it may read signals of this kind; a kind may end in `*`, None: all there are."""
        word, dot, _ = (kind or "").partition(".")
        self._require(TIMELINE_READ, word if dot else "", "" if kind is None else word.rstrip("*"))

    def _require(self, name: str, selector: str, wanted: str) -> None:
        if self.is_admin or Scope(name) in self.scopes or (selector and Scope(name, selector) in self.scopes):
            return
        raise NotAllowed(self.name, str(Scope(name, wanted)))
