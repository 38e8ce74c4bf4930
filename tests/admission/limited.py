"""A catalogue with limits whose windows are short, and operations of every kind."""

from __future__ import annotations

CATALOG = """
[services.redis]
kind = "redis"

[services.vectors]
kind = "tcp"
host = "127.0.0.1"
port = 1

[limits.api]
platform = "instagram"
capacity = 10
window = "calendar"
period = "month"

[limits.api_rolling]
platform = "instagram"
capacity = 12
window = "rolling"
period = "month"
reported_by = ["app_usage", "business_usage"]

[limits.posts]
platform = "instagram"
capacity = 2
window = "calendar"
period = "month"

[limits.spend]
currency = "usd"
per = "tenant"
capacity = 5
window = "calendar"
period = "month"

[operations.reply]
platform = "instagram"
class = "interactive"
consumes = {api = 1, api_rolling = 1}
requires_token = true
fall_back = "answer by hand"

[operations.post]
platform = "instagram"
class = "interactive"
consumes = {api = 2, api_rolling = 2, posts = 1}

[operations.statistics]
platform = "instagram"
class = "background"
consumes = {api = 1, api_rolling = 1}

[operations.draft]
platform = "instagram"
consumes = {spend = "estimate"}
requires = ["vectors"]

[operations.serial]
platform = "instagram"
consumes = {api = 1}
one_at_a_time = true

[operations.careless]
platform = "instagram"
consumes = {api = 1}
unreachable = "allow"
"""
