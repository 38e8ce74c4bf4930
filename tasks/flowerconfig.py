"""Flower's options, read by Flower as a Python file: loopback, a password, no task or pool control unless asked for."""

from app.config import settings
from app.infra import adminkey

_settings = settings()

address = _settings.flower_host
port = _settings.flower_port
basic_auth = [f"admin:{adminkey.load_or_create(_settings)}"]
cookie_secret = adminkey.derived(_settings, "flower-cookie")
read_only = _settings.flower_read_only
max_tasks = 10_000
purge_offline_workers = 3600
natural_time = False
