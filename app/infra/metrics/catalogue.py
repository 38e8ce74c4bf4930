"""The metrics that processes count. What is read at scrape time (depths, states, ages) is its domain's collector's."""

from __future__ import annotations

from app.infra.metrics.instruments import Counter, Histogram, Instrument

_WORK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WAIT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_ANSWER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

TASK_SECONDS = Histogram(
    "smm_task_duration_seconds",
    "Run time of one task in a worker, jobs and ticks alike, by how it ended.",
    ("task", "outcome"),
    buckets=_WORK,
)
JOB_ATTEMPTS = Counter("smm_job_attempts_total", "Attempts of jobs that ended, by how.", ("task", "outcome"))
JOB_START_DELAY = Histogram(
    "smm_job_start_delay_seconds",
    "Time from the moment a job was due to the start of its attempt, by queue.",
    ("queue",),
    buckets=_WAIT,
)
TICKS = Counter("smm_tick_runs_total", "Runs of the tasks that beat sends, by how they ended.", ("task", "outcome"))
DOORBELLS = Counter(
    "smm_doorbells_total",
    "Messages that tell a worker of a job: rung, rung_again (nobody claimed it), failed (left to the relay).",
    ("queue", "outcome"),
)
TAKEN_BACK = Counter("smm_jobs_taken_back_total", "Running jobs whose worker let the lease run out.", ("queue",))
EXPIRED = Counter("smm_jobs_expired_total", "Jobs dropped because they were still waiting at expires_at.", ("queue",))

PROBES = Counter("smm_probe_results_total", "Probes of services that ended, by kind and result.", ("kind", "outcome"))
PROBE_SECONDS = Histogram(
    "smm_probe_duration_seconds", "Run time of one probe of a service, by kind.", ("kind",), buckets=_ANSWER
)

NOTIFICATION_ATTEMPTS = Counter(
    "smm_notification_attempts_total",
    "Tries to send a message through a channel: delivered, rate_limited, transient (worth another try) or permanent.",
    ("channel", "outcome"),
)
NOTIFICATION_SECONDS = Histogram(
    "smm_notification_send_seconds", "Run time of one try to send a message.", ("channel",), buckets=_ANSWER
)

TOKEN_REFRESHES = Counter(
    "smm_token_refreshes_total",
    "Refreshes of platform tokens: refreshed, failed, dead (a login is needed), lost (no answer), waiting or nothing.",
    ("platform", "outcome"),
)
TOKEN_REFRESH_SECONDS = Histogram(
    "smm_token_refresh_seconds", "Time in which a platform answered a refresh.", ("platform",), buckets=_ANSWER
)

HTTP_REQUESTS = Counter(
    "smm_http_requests_total", "Requests to our API and console that were answered.", ("method", "route", "status")
)
HTTP_SECONDS = Histogram(
    "smm_http_request_duration_seconds",
    "Time from a request to the end of its answer.",
    ("method", "route"),
    buckets=_ANSWER,
)
HTTP_LIMITED = Counter(
    "smm_http_limited_total", "Requests that were answered 429, by the limit of [http] that was reached.", ("limit",)
)
HTTP_UNCOUNTED = Counter(
    "smm_http_uncounted_total", "Requests that went through a limit uncounted, because Redis was away.", ("limit",)
)
ALERT_CHANGES = Counter(
    "smm_alert_changes_total", "Changes in the life of alerts, by the decision's reason.", ("reason", "severity")
)
ALERTS_TOLD = Counter(
    "smm_alerts_told_total", "Times that a group of alerts was told to somebody, by why.", ("why", "severity")
)
RECOVERY_RUNS = Counter(
    "smm_recovery_runs_total", "Runs of playbooks: started, and how they ended.", ("playbook", "outcome")
)
RECOVERY_STEPS = Counter(
    "smm_recovery_steps_total", "Steps of playbooks that changed something, by how they ended.", ("action", "outcome")
)
ADMISSIONS = Counter(
    "smm_admissions_total",
    "Questions whether an operation may go on, by the answer: allow, wait or deny, and why.",
    ("operation", "decision", "reason"),
)
RELEASES = Counter(
    "smm_releases_total",
    "Operations that wait no more: released, expired, or dropped because they can never be done.",
    ("outcome",),
)
COST_CALLS = Counter(
    "smm_cost_calls_total",
    "LLM calls that left the stream: kept, duplicate (known already) or set_aside.",
    ("result",),
)
SCRAPES = Counter("smm_scrapes_total", "Times that /metrics was read.")

INSTRUMENTS: tuple[Instrument, ...] = (
    TASK_SECONDS,
    JOB_ATTEMPTS,
    JOB_START_DELAY,
    TICKS,
    DOORBELLS,
    TAKEN_BACK,
    EXPIRED,
    PROBES,
    PROBE_SECONDS,
    NOTIFICATION_ATTEMPTS,
    NOTIFICATION_SECONDS,
    TOKEN_REFRESHES,
    TOKEN_REFRESH_SECONDS,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    HTTP_LIMITED,
    HTTP_UNCOUNTED,
    ALERT_CHANGES,
    ALERTS_TOLD,
    RECOVERY_RUNS,
    RECOVERY_STEPS,
    ADMISSIONS,
    RELEASES,
    COST_CALLS,
    SCRAPES,
)
