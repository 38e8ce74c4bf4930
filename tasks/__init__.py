"""Thin Celery tasks: a name, a policy, one call into app."""
