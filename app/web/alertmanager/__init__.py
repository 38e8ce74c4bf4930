"""Alertmanager's API v2, so that Prometheus and amtool work against us: https://github.com/prometheus/alertmanager."""

from app.web.alertmanager.routes import install

__all__ = ["install"]
