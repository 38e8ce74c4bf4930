"""Packed calls are what COPY reads, whatever is in their texts."""

from __future__ import annotations

import io
import json
from uuid import uuid4

import psycopg2
from hypothesis import given, settings
from hypothesis import strategies as st

from app.costs import packing
from app.costs.calls import Call, body_of
from app.costs.models import CallRow
from app.costs.packing import Aside
from tests.costs.sent import call

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20) | st.sampled_from(
    ["\\", "\\N", "\\.", '"\\"']
)

AWKWARD = ("\\", "\\N", "\\.", 'say "hi"', "a\\tb", "\u2028\u0085", "\U0001f600", "", "'; --", "{}")


def test_the_columns_are_those_of_the_table_in_the_order_of_a_call() -> None:
    table = [column.name for column in CallRow.__table__.columns]
    assert sorted(packing.COLUMNS) == sorted(table)
    assert [name.replace("user_id", "user") for name in packing.COLUMNS] == list(Call._fields)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5))
def test_what_was_packed_is_unpacked_again(texts: list[tuple[str, str, str]]) -> None:
    made = [call(tenant=one, agent=two, tags={"name": three}, latency_ms=7) for one, two, three in texts]
    assert packing.calls_of(packing.rows(made)) == made
    assert packing.unpack(packing.rows(made)) == [body_of(one) for one in made]


def test_postgres_reads_what_was_packed(database: str) -> None:
    made = [call(tenant=text, request_id=text, tags={"t": text}, cost=0.5, latency_ms=3) for text in AWKWARD]
    made += [call(input_tokens=None, output_tokens=None)._replace(price_id=uuid4(), priced="table", cost_micro_usd=7)]
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.copy_expert(
            f"COPY cost_tracking ({', '.join(packing.COLUMNS)}) FROM STDIN", io.BytesIO(packing.rows(made))
        )
        fields = (
            ", ".join(packing.COLUMNS).replace("at,", "extract(epoch FROM at)::float8,").replace("tags", "tags::text")
        )
        cursor.execute(f"SELECT {fields.replace('id,', 'id::text,', 1)} FROM cost_tracking")
        stored = {row[0]: row for row in cursor.fetchall()}
    for one in made:
        *plain, tags = stored[one.id]
        assert [None if value is None else str(value) for value in plain] == [
            None if value is None else str(value) for value in one[:-1]
        ]
        assert (None if tags is None else json.loads(tags)) == one.tags


def test_calls_that_are_set_aside_are_lines_of_json() -> None:
    made = [Aside("too_old", "it is", call().id, "admin", body_of(call(tenant=text))) for text in AWKWARD]
    assert packing.asides_of(packing.asides(made)) == made
    assert packing.asides(made).count(b"\n") == len(AWKWARD)
