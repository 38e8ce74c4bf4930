"""Image, compose file, Kubernetes manifests and unit say the same as the Procfile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.config import Settings, resource
from app.infra.supervisor.procfile import load

DEPLOY = resource("deploy")
COMPOSE = (DEPLOY / "compose.yaml").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNIT = (DEPLOY / "systemd" / "smm-admin.service").read_text()
MANIFESTS = {file.name: file.read_text() for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))}
PROCESSES = [entry.name for entry in load(resource("Procfile"))]
NOT_IN_KUBERNETES = {"flower"}


def sections(text: str, *, under: str) -> dict[str, str]:
    """Blocks of two spaces' indentation below a top-level key, by name."""
    body = text.split(f"\n{under}:\n", 1)[1]
    body = re.split(r"^\S", body, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^  ([a-z-]+):\n", body, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def started(command: str) -> str:
    """The process of the Procfile that a command list runs."""
    words = [word.strip() for word in command.split(",")]
    return words[-1].removeprefix("app.")


def test_compose_has_one_service_for_each_line_of_the_procfile() -> None:
    services = sections(COMPOSE, under="services")
    assert set(services) == {*PROCESSES, "postgres", "redis", "migrate"}
    for name in PROCESSES:
        command = re.search(r"command: \[(.+)\]", services[name])
        assert command is not None
        assert started(command[1]) == name


def test_kubernetes_runs_each_process_and_gives_it_time_to_stop() -> None:
    text = "\n".join(MANIFESTS.values())
    commands = re.findall(r"command: \[((?:smm-admin, up|python).+)\]", text)
    assert {started(command) for command in commands} == set(PROCESSES) - NOT_IN_KUBERNETES
    deployments = text.count("kind: Deployment")
    grace = [int(seconds) for seconds in re.findall(r"terminationGracePeriodSeconds: (\d+)", text)]
    assert len(grace) == deployments
    assert min(grace) > Settings().shutdown_seconds + 10


def test_each_worker_is_judged_by_its_own_heartbeat_file() -> None:
    probes = re.findall(
        r"up, --only, ([a-z-]+)\].*?-name ([a-z-]+)\.heartbeat", "\n".join(MANIFESTS.values()), re.DOTALL
    )
    assert [name for name, _ in probes] == [name for _, name in probes]
    assert {name for name, _ in probes} == {name for name in PROCESSES if name.startswith(("worker-", "beat"))}


@pytest.mark.parametrize("file", sorted(MANIFESTS))
def test_manifests_live_in_our_namespace_without_tabs_or_values_of_secrets(file: str) -> None:
    text = MANIFESTS[file]
    assert "\t" not in text
    kinds = text.count("\nkind: ") + text.startswith("kind: ")
    assert kinds == text.count("\napiVersion: ") + text.startswith("apiVersion: ")
    assert kinds == text.count("\n  namespace: smm-admin") or file == "namespace.yaml"
    assert not re.search(r"(?:_URL|_KEY|PASSWORD): \"?[^\"\s{]", text)


def test_containers_run_as_an_ordinary_user_with_a_read_only_root() -> None:
    assert re.search(r"^USER smm$", DOCKERFILE, re.MULTILINE)
    for file in ("web.yaml", "beat.yaml", "workers.yaml", "migrate.yaml"):
        text = MANIFESTS[file]
        assert text.count("runAsNonRoot: true") == text.count("    spec:\n")
        assert text.count("readOnlyRootFilesystem: true") == text.count("image: smm-admin")


def test_the_image_installs_only_what_the_lock_file_has_hashes_for() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "--no-index" in DOCKERFILE
    assert "HEALTHCHECK" in DOCKERFILE
    assert "/healthz" in DOCKERFILE
    for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE):
        assert re.fullmatch(r"[a-z]+:[0-9.]+-slim", image)


def test_no_file_of_the_deployment_holds_a_secret_or_names_a_package_index() -> None:
    for file in sorted(DEPLOY.rglob("*")):
        if file.is_file() and file.suffix != ".json":
            text = file.read_text()
            assert not re.search(r"index-url|pypi\.|ghcr\.io|docker\.io", text), file
    assert re.findall(r"^(\w+)=(.*)$", (DEPLOY / "compose.env.example").read_text(), re.MULTILINE) == [
        ("POSTGRES_PASSWORD", ""),
        ("REDIS_PASSWORD", ""),
        ("SMM_ADMIN_KEY", ""),
    ]


def test_secrets_of_a_checkout_stay_out_of_git_and_out_of_the_image() -> None:
    root = Path(resource("Procfile")).parent
    for ignored in (".gitignore", ".dockerignore"):
        lines = (root / ignored).read_text().splitlines()
        assert {"deploy/compose.env"} <= set(lines), ignored


def test_the_unit_leaves_the_order_of_stopping_to_the_supervisor() -> None:
    assert "ExecStart=/opt/smm-admin/bin/smm-admin up\n" in UNIT
    assert "KillMode=mixed" in UNIT
    patience = re.search(r"TimeoutStopSec=(\d+)", UNIT)
    assert patience is not None
    assert int(patience[1]) > Settings().shutdown_seconds + 45
