"""A Secret gets nowhere by itself: not printed, logged, dumped, copied, pickled or put into a message."""

from __future__ import annotations

import copy
import io
import json
import logging
import marshal
import pickle
import pprint
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import pytest
from kombu.utils import json as kombu_json

from app.config import Settings
from app.infra import logging as log
from app.infra.scrub import MASK, scrub
from app.infra.secret import Secret

CLEAR = "canary-5ecret-Value-0123456789"
SECRET = Secret(CLEAR)


@dataclass(frozen=True)
class Holder:
    name: str
    token: Secret
    more: list[Secret] = field(default_factory=list)


def _printed(secret: Secret) -> str:
    out = io.StringIO()
    print(secret, [secret], file=out)
    return out.getvalue()


WAYS: dict[str, Callable[[Secret], object]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "f-string": lambda secret: f"{secret}",
    "f-string with a width": lambda secret: f"{secret:>40}",
    "f-string of its repr": lambda secret: f"{secret!r:>40}",
    "f-string with its name": lambda secret: f"{secret=}",
    "format": "{0} {0!s} {0!r} {0:>40}".format,
    "percent s": lambda secret: "%s" % secret,  # noqa: UP031
    "percent r": lambda secret: "%r" % (secret,),  # noqa: UP031
    "print": _printed,
    "pprint": lambda secret: pprint.pformat({"token": [secret]}),
    "in a container": lambda secret: repr({"token": (secret, [secret])}),
    "in a dataclass": lambda secret: repr(Holder("mine", secret, [secret])),
    "as an exception": lambda secret: repr(ValueError("refused", secret)) + str(ValueError(secret)),
    "JSON with a default": lambda secret: json.dumps({"token": secret}, default=str),
    "scrubbed": lambda secret: scrub({"value": secret, "token": secret, "all": [secret]}),
    "its length and truth": lambda secret: (len(secret), bool(secret)),
    "its digest": lambda secret: secret.digest,
}


@pytest.mark.parametrize("way", WAYS)
def test_printed_in_any_way_it_is_not_shown(way: str) -> None:
    shown = str(WAYS[way](SECRET))
    assert CLEAR not in shown
    assert CLEAR[:12] not in shown


REFUSED: dict[str, Callable[[Secret], object]] = {
    "JSON": json.dumps,
    "a message": lambda secret: kombu_json.dumps({"kwargs": {"token": secret}}),
    "marshal": marshal.dumps,
    "copy": copy.copy,
    "deepcopy": lambda secret: copy.deepcopy({"token": [secret]}),
    "asdict": lambda secret: asdict(Holder("mine", secret)),
    "bytes": bytes,
    "list": list,
    "join": lambda secret: "".join([secret]),  # type: ignore[list-item]
    "a sum of texts": lambda secret: "token " + secret,  # type: ignore[operator]
    "hash": hash,
    "a key of a mapping": lambda secret: {secret: 1},
}


@pytest.mark.parametrize("way", REFUSED)
def test_it_refuses_to_be_taken_along_and_does_not_quote_itself(way: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        REFUSED[way](SECRET)
    assert CLEAR not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_pickles_it(protocol: int) -> None:
    for value in (SECRET, {"token": [SECRET]}, Holder("mine", SECRET)):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(value, protocol)


def test_it_has_no_attributes_that_a_serializer_would_find() -> None:
    assert not hasattr(SECRET, "__dict__")
    with pytest.raises(TypeError):
        vars(SECRET)


def test_it_equals_the_same_text_and_nothing_else() -> None:
    assert Secret(CLEAR) == SECRET
    assert Secret(CLEAR + "x") != SECRET
    assert SECRET != CLEAR
    assert Secret("\ud800") == Secret("\ud800")
    assert not Secret("")


def test_its_digest_tells_two_apart_and_stays_the_same() -> None:
    assert SECRET.digest == Secret(CLEAR).digest
    assert len({SECRET.digest, Secret("another").digest, Secret("\ud800").digest}) == 3
    assert len(SECRET.digest) == 12


@pytest.fixture(params=["json", "console"])
def logged(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What the product's log writes in either form, at its most talkative."""
    root, out = logging.getLogger(), io.StringIO()
    before = list(root.handlers), root.level, logging.raiseExceptions
    log.configure("tests", Settings(log_level="debug", log_format=request.param))
    handler = logging.StreamHandler(out)
    handler.setFormatter(root.handlers[0].formatter)
    root.handlers = [handler]
    yield out
    root.handlers, level, logging.raiseExceptions = before
    root.setLevel(level)
    logging.captureWarnings(False)


def test_no_log_shows_it_whatever_it_is_part_of(logged: io.StringIO) -> None:
    own, foreign = log.get_logger("tests.own"), logging.getLogger("tests.foreign")
    with log.bound(held=SECRET):
        own.info("got", value=SECRET, holder=Holder("mine", SECRET), several=[SECRET])
        own.info("got %s", SECRET)
        foreign.warning("got %s and %r", SECRET, {"value": SECRET}, extra={"value": SECRET})
    assert logged.getvalue().count(MASK) >= 3
    assert CLEAR not in logged.getvalue()


def test_a_traceback_in_a_log_shows_no_values_of_variables(logged: io.StringIO) -> None:
    """Renderers that print what each frame held would print what was revealed there."""

    def send(secret: Secret) -> None:
        revealed = secret.reveal()
        holder = {"sent": revealed}
        raise RuntimeError(f"refused after {len(holder)} try")

    try:
        send(SECRET)
    except RuntimeError:
        log.get_logger("tests.own").exception("failed", value=SECRET)
        logging.getLogger("tests.foreign").exception("failed with %s", SECRET)
    assert logged.getvalue().count("refused after 1 try") == 2
    assert CLEAR not in logged.getvalue()
