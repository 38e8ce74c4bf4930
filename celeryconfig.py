"""The timetable of the whole system: five short tables, then Celery's settings with the reason of each.

From any row it is four hops to the decision: here → tasks/<domain>.py → app/<domain>/service.py → app/<domain>/core.py.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from kombu.entity import Exchange, Queue

from app.infra.queue import PRIORITY_STEPS
from app.infra.redis import PREFIX
from app.jobs.schedule import Dated, Every

# Queues by duty, each with workers of its own (Procfile), so that nothing long
# delays a tick and no flood delays a page.
QUEUES = {
    "tick": "beat's look-for-work tasks: milliseconds each",
    "critical": "what a human or a repair waits for",
    "high": "work with a deadline",
    "intake": "jobs asked for over the broker by other services",
    "tokens": "refreshes: each waits for a platform's answer",
    "default": "probes",
    "bulk": "ingestion, upkeep, reports: whatever may wait",
}

# Module glob → queue; the first match counts, and every task must have one.
ROUTES = {
    "tasks.jobs.relay": "tick",
    "tasks.jobs.submit_due": "tick",
    "tasks.health.claim_due": "tick",
    "tasks.jobs.deliver_callback": "high",
    "tasks.jobs.*": "bulk",
    "tasks.intake.*": "intake",
    "tasks.health.on_signal": "critical",
    "tasks.health.roll_up": "high",
    "tasks.health.catch_up": "bulk",
    "tasks.health.*": "default",
    "tasks.alerts.tick": "tick",
    "tasks.alerts.on_signal": "critical",
    "tasks.alerts.deliver": "critical",
    "tasks.alerts.*": "high",
    "tasks.admission.submit": "intake",
    "tasks.admission.release": "high",
    "tasks.admission.*": "critical",
    "tasks.limits.*": "high",
    "tasks.costs.record": "intake",
    # Seconds at a time in a flood: too long for `tick` and for `high`, where releases wait behind one child, and on
    # `bulk` it would wait for a report. `default` has two children: probes keep the other one.
    "tasks.costs.ingest": "default",
    "tasks.costs.lag": "tick",
    "tasks.costs.keep_budgets": "high",
    "tasks.costs.*": "bulk",
    "tasks.tokens.tell": "critical",
    "tasks.tokens.pick_up": "high",
    "tasks.tokens.rewrap": "bulk",
    "tasks.tokens.look_at_keys": "bulk",
    "tasks.tokens.watch": "bulk",
    "tasks.tokens.sweep": "high",
    "tasks.tokens.*": "tokens",
    "tasks.recovery.look": "tick",
    "tasks.recovery.*": "critical",
    "tasks.maintenance.*": "bulk",
    "*": "default",
}

# Every: beat publishes a tick; one that waited too long is dropped (beat_schedule). Dated: a row with a due time that
# the tick `timetable` turns into a job; late rather than skipped, and safe with two beats.
BEAT: dict[str, Every | Dated] = {
    "job-relay": Every(1, "tasks.jobs.relay"),
    "timetable": Every(5, "tasks.jobs.submit_due"),
    "alert-tick": Every(1, "tasks.alerts.tick"),
    "alert-pick-up": Dated("tasks.alerts.pick_up", seconds=60),
    "health-checks": Every(5, "tasks.health.claim_due"),
    "health-deep-cycle": Dated("tasks.health.deep_cycle", seconds=900),
    "health-rollup": Dated("tasks.health.roll_up", seconds=60),
    "deferral-release": Every(1, "tasks.admission.release"),
    "recovery-look": Every(10, "tasks.recovery.look"),
    "modes": Dated("tasks.admission.reconcile", seconds=60),
    "pauses": Dated("tasks.admission.keep_pauses", seconds=60),
    "limit-keeping": Every(5, "tasks.limits.keep"),
    "budgets": Dated("tasks.costs.keep_budgets", seconds=60),
    "cost-ingest": Every(1, "tasks.costs.ingest"),
    "cost-lag": Every(10, "tasks.costs.lag"),
    "cost-aggregation": Dated("tasks.costs.aggregate", at="02:20", timezone="UTC"),
    "rate-limit-reset": Every(5, "tasks.limits.reset"),
    "token-refresh": Every(10, "tasks.tokens.sweep"),
    "token-keys": Dated("tasks.tokens.look_at_keys", seconds=3600),
    "token-watch": Dated("tasks.tokens.watch", seconds=300),
    "token-telling": Dated("tasks.tokens.pick_up", seconds=60),
    "cost-watch": Dated("tasks.costs.watch", seconds=300),
    "price-keeping": Dated("tasks.costs.keep_prices", seconds=600),
    "alert-synthetic": Dated("tasks.alerts.synthetic", seconds=3600),
    "partitions": Dated("tasks.maintenance.partitions", seconds=21600),
    "retention": Dated("tasks.maintenance.retention", at="03:10", timezone="UTC"),
    "cost-reports": Dated("tasks.costs.due_reports", seconds=300),
    "cost-reconciliation": Dated("tasks.costs.reconcile", at="06:00", timezone="UTC"),
    "cost-balances": Dated("tasks.costs.read_balances", seconds=3600),
    "broker-janitor": Dated("tasks.maintenance.broker_janitor", seconds=3600),
}

# Kind of signal (glob) → tasks that are told, each by a job of its own.
SUBSCRIPTIONS: dict[str, tuple[str, ...]] = {
    "health.*": ("tasks.health.on_signal", "tasks.alerts.on_signal"),
    "health.down": ("tasks.recovery.on_signal", "tasks.admission.on_signal"),
    "health.degraded": ("tasks.recovery.on_signal",),
    "health.warning": ("tasks.recovery.on_signal",),
    "recovery.*": ("tasks.alerts.on_signal",),
    "health.up": ("tasks.admission.on_signal",),
    "health.removed": ("tasks.admission.on_signal",),
    "slo.*": ("tasks.alerts.on_signal",),
    "limits.*": ("tasks.alerts.on_signal",),
    "costs.budget_*": ("tasks.admission.on_budget", "tasks.alerts.on_signal"),
    "costs.*": ("tasks.alerts.on_signal",),
    "jobs.dead": ("tasks.alerts.on_signal",),
    "intake.rejected": ("tasks.alerts.on_signal",),
    "notify.*": ("tasks.alerts.on_signal",),
    "alerts.*": ("tasks.alerts.on_signal",),
    # Not every kind of tokens': each refresh is a signal, and no alert is about one that succeeded.
    "tokens.climbed": ("tasks.alerts.on_signal",),
    "tokens.recovered": ("tasks.alerts.on_signal",),
    "tokens.refresh_failed": ("tasks.alerts.on_signal",),
    "tokens.removed": ("tasks.alerts.on_signal", "tasks.admission.on_token"),
    "tokens.disabled": ("tasks.admission.on_token",),
    "tokens.paused": ("tasks.admission.on_token",),
    "tokens.resumed": ("tasks.admission.on_token",),
    "admission.token_refused": ("tasks.tokens.on_platform_error",),
    "admission.platform_error": ("tasks.tokens.on_platform_error",),
    "tokens.connect_*": ("tasks.alerts.on_signal",),
    "tokens.telling_failed": ("tasks.alerts.on_signal",),
    "tokens.told": ("tasks.alerts.on_signal",),
    "tokens.app_*": ("tasks.alerts.on_signal",),
    "tokens.platform_*": ("tasks.alerts.on_signal",),
    "tokens.answer_*": ("tasks.alerts.on_signal",),
    "tokens.key_*": ("tasks.alerts.on_signal",),
    "tokens.success_*": ("tasks.alerts.on_signal",),
}

# Task glob → (soft, hard) time limit in seconds; the first match counts. Longer work is cut into steps.
LIMITS = {
    "tasks.jobs.relay": (20, 30),
    "tasks.jobs.submit_due": (20, 30),
    "tasks.health.claim_due": (20, 30),
    "tasks.alerts.tick": (20, 30),
    "tasks.recovery.look": (20, 30),
    "tasks.admission.release": (20, 30),
    "tasks.costs.ingest": (20, 30),
    "tasks.costs.lag": (20, 30),
    "tasks.tokens.sweep": (60, 90),
    "tasks.tokens.attend": (80, 110),
    "*": (240, 300),
}


def queue_of(task: str) -> str:
    """The queue a task is routed to."""
    return next(queue for pattern, queue in ROUTES.items() if fnmatchcase(task, pattern))


def limits_of(task: str) -> tuple[int, int]:
    """The task's soft and hard time limit in seconds."""
    return next(limits for pattern, limits in LIMITS.items() if fnmatchcase(task, pattern))


# --- Celery's settings. The broker's address comes from the environment: tasks/celery.py. ---

imports = ("tasks.lifecycle",)

# The anonymous exchange: routing by queue name needs no binding in Redis, and so survives the loss of Redis.
task_queues = [Queue(name, Exchange(""), routing_key=name) for name in QUEUES]
task_routes = ([(pattern, {"queue": queue}) for pattern, queue in ROUTES.items()],)
task_default_queue = "default"
task_default_exchange = ""
task_default_routing_key = "default"
task_create_missing_queues = False  # a mistyped queue is an error, not a queue that nobody reads
task_default_priority = 3  # unset would be 0, and 0 is taken first

# A tick expires by the worker's clock at a time that beat's clock made. Two hosts' clocks differ, and after one second
# a difference of one second would drop every tick; ten seconds' worth of stale ticks is quickly looked through.
_TICK_EXPIRES_AT_LEAST = 10

beat_schedule = {
    name: {
        "task": entry.task,
        "schedule": entry.seconds,
        "options": {"expires": max(entry.seconds, _TICK_EXPIRES_AT_LEAST)},
    }
    for name, entry in BEAT.items()
    if isinstance(entry, Every)
}
beat_max_loop_interval = 1
beat_scheduler = "tasks.beat:Timetable"

broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # a worker waits for its broker as long as it takes
broker_pool_acquire_timeout = 5
# A running acks_late task whose message outlives this starts a second time; more than the hard limit plus prefetch.
# The job's claim makes that second run a no-op. The shortest timeout of all clients wins, so Flower has the same.
visibility_timeout = 900
broker_transport_options = {
    "visibility_timeout": visibility_timeout,
    "global_keyprefix": PREFIX,
    "priority_steps": list(PRIORITY_STEPS),
    "queue_order_strategy": "round_robin",
    # Without these a half-open connection leaves a worker deaf for minutes. Must exceed kombu's BRPOP of 1 s.
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "deadletter_queue": "dead-letters",  # a foreign client's lost binding would discard its messages silently
}
task_publish_retry = False  # beat publishes the next tick soon enough; jobs are rung by app/infra/queue.py

task_acks_late = True
task_reject_on_worker_lost = False  # a task that kills its process ran 101 times in 12 s; the lease counts attempts
task_ignore_result = True  # results are the ledger's; storing them costs a third of the throughput
task_store_errors_even_if_ignored = False
task_soft_time_limit, task_time_limit = LIMITS["*"]
task_send_sent_event = False
worker_send_task_events = True  # for Flower
task_track_started = True

accept_content = ["json"]
task_serializer = "json"
enable_utc = True

worker_prefetch_multiplier = 1
worker_max_tasks_per_child = 1000
worker_max_memory_per_child = 400_000  # KiB
worker_proc_alive_timeout = 30
worker_hijack_root_logger = False
worker_redirect_stdouts = False
# A job that runs while Redis is lost goes on under its lease in Postgres; cancelling it would only repeat its effects.
worker_cancel_long_running_tasks_on_connection_loss = False
worker_enable_remote_control = True
worker_cancel_tasks_on_shutdown = False
