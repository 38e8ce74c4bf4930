"""The table in which the tests' tasks leave their effects."""

CREATE = (
    "CREATE TABLE IF NOT EXISTS effects"
    " (job uuid, note text, worker text, at timestamptz NOT NULL DEFAULT clock_timestamp())"
)
ALL = "SELECT job, note FROM effects ORDER BY at"
