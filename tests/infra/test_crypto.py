"""Sealed values open in their place with their key, and nowhere else; errors name keys and quote nothing."""

from __future__ import annotations

import base64
import re
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Misconfigured
from app.infra import crypto
from app.infra.crypto import Damaged, KeyMissing, Keyring, Sealed
from app.infra.secret import Secret

CLEAR = "canary-5ecret-Value-0123456789"
PLACE = b"acme|instagram|1784|access|3"
OLD, NEW = ("old", bytes(range(32))), ("new", bytes(range(32, 64)))
RING = Keyring([NEW, OLD])


def quotes_nothing(error: BaseException, *hidden: str) -> None:
    """Neither the error nor what led to it has six characters in a row of what must stay hidden."""
    shown = "".join(traceback.format_exception_only(error))
    for text in hidden:
        assert not any(text[place : place + 6] in shown for place in range(len(text) - 5)), shown
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


@given(st.text(max_size=200), st.binary(max_size=60))
@settings(max_examples=30)
def test_what_is_sealed_opens_in_its_place(text: str, place: bytes) -> None:
    plain = Secret(text)
    sealed = RING.seal(plain, place)
    assert sealed.key_id == "new"
    assert RING.open(sealed, place) == plain
    assert len(sealed.data) == 1 + 12 + len(text.encode()) + 16


def test_a_sealed_value_shows_neither_the_secret_nor_its_bytes() -> None:
    sealed = RING.seal(Secret(CLEAR), PLACE)
    assert CLEAR.encode() not in sealed.data
    assert repr(sealed) == "Sealed(key_id='new')"


def test_the_first_key_seals_and_every_key_opens() -> None:
    before = Keyring([OLD]).seal(Secret(CLEAR), PLACE)
    assert RING.ids == ("new", "old")
    assert RING.open(before, PLACE).reveal() == CLEAR


@pytest.mark.parametrize(
    "place", [b"", PLACE[:-1], PLACE + b"|", b"acme|instagram|1784|refresh|3", b"acme|instagram|1785|access|3"]
)
def test_in_another_place_it_does_not_open(place: bytes) -> None:
    with pytest.raises(Damaged, match='does not open with key "new" in this place') as refused:
        RING.open(RING.seal(Secret(CLEAR), PLACE), place)
    quotes_nothing(refused.value, CLEAR)


def test_two_that_change_places_are_both_refused() -> None:
    places = (b"acme|x|1|access|1", b"acme|x|2|access|1")
    one, two = (RING.seal(Secret(CLEAR), place) for place in places)
    for sealed, place in ((two, places[0]), (one, places[1])):
        with pytest.raises(Damaged):
            RING.open(sealed, place)


def test_with_another_key_under_the_same_id_it_does_not_open() -> None:
    sealed = RING.seal(Secret(CLEAR), PLACE)
    with pytest.raises(Damaged):
        Keyring([("new", OLD[1])]).open(sealed, PLACE)


def test_a_key_that_is_gone_is_named() -> None:
    with pytest.raises(KeyMissing, match='encryption key "new" is not among those') as missing:
        Keyring([OLD]).open(RING.seal(Secret(CLEAR), PLACE), PLACE)
    quotes_nothing(missing.value, CLEAR)


def test_cut_anywhere_it_does_not_open() -> None:
    sealed = RING.seal(Secret("abc"), PLACE)
    for length in range(len(sealed.data)):
        with pytest.raises(Damaged):
            RING.open(Sealed("new", sealed.data[:length]), PLACE)


def test_with_any_bit_changed_it_does_not_open() -> None:
    sealed = RING.seal(Secret("abc"), PLACE)
    for place in range(len(sealed.data)):
        changed = bytearray(sealed.data)
        changed[place] ^= 1 << place % 8
        with pytest.raises(Damaged):
            RING.open(Sealed("new", bytes(changed)), PLACE)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_said_to_be_one(version: int) -> None:
    sealed = RING.seal(Secret(CLEAR), PLACE)
    with pytest.raises(Damaged, match="newer version"):
        RING.open(Sealed("new", bytes([version]) + sealed.data[1:]), PLACE)


def test_no_nonce_comes_twice_and_the_same_text_never_looks_the_same() -> None:
    sealed = [RING.seal(Secret(CLEAR), PLACE).data for _ in range(3000)]
    assert len({data[1:13] for data in sealed}) == len({data[13:] for data in sealed}) == 3000


def test_many_threads_use_one_keyring_at_once() -> None:
    def there_and_back(number: int) -> bool:
        plain, place = Secret(f"{CLEAR}-{number}"), str(number).encode()
        return all(RING.open(RING.seal(plain, place), place) == plain for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(32)))


def entry(key_id: str, key: bytes) -> str:
    return f"{key_id}:{base64.b64encode(key).decode()}"


def test_keys_are_read_from_lines_or_commas_in_either_alphabet_with_or_without_padding() -> None:
    tricky = bytes([251, 255]) * 16
    plain, urlsafe = base64.b64encode(tricky).decode(), base64.urlsafe_b64encode(tricky).decode().rstrip("=")
    for text in (f"b:{plain}, a:{urlsafe}", f"# keys\n\n b:{urlsafe}\na: {plain} \n"):
        ring = crypto.parse(text, where="SMM_TOKEN_KEYS")
        assert ring.ids == ("b", "a")
        assert Keyring([("b", tricky)]).open(ring.seal(Secret("x"), b""), b"") == Secret("x")


def test_a_fresh_key_is_an_entry_like_any_other() -> None:
    made = [crypto.new_key("2027-01") for _ in range(2)]
    assert made[0] != made[1]
    assert crypto.parse(made[0], where="a file").ids == ("2027-01",)


KEY = base64.b64encode(bytes(range(100, 132))).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no encryption key"),
        ("# only words\n,,\n", "there is no encryption key"),
        (KEY, "entry 1 is no ID:BASE64"),
        (f"main:{KEY},{KEY}", "entry 2 is no ID:BASE64"),
        (f"main:{KEY[:20]}!{KEY[21:]}", "entry 1 is no ID:BASE64"),
        (f"main:{KEY[:20]}é{KEY[21:]}", "entry 1 is no ID:BASE64"),
        (f"main:{KEY[:-3]}", "entry 1 is no ID:BASE64"),
        (f"main:{KEY[:24]}", 'encryption key "main" has 18 bytes: it must have 32'),
        (f"main:{KEY}{KEY}", "entry 1 is no ID:BASE64"),
        (f":{KEY}", "an encryption key's id must be"),
        (f"two words:{KEY}", "an encryption key's id must be"),
        (f"{KEY.rstrip('=')}:main", "an encryption key's id must be|entry 1 is no ID:BASE64"),
        (f"main:{KEY}\nmain:{KEY}", 'encryption key "main" is there twice'),
    ],
)
def test_a_wrong_entry_is_told_by_its_place_and_never_quoted(text: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=f"SMM_TOKEN_KEYS: (?:{said})") as refused:
        crypto.parse(text, where="SMM_TOKEN_KEYS")
    quotes_nothing(refused.value, KEY)


@given(st.text(max_size=60))
@settings(max_examples=100)
def test_whatever_stands_there_is_a_keyring_or_misconfigured(text: str) -> None:
    try:
        assert crypto.parse(text, where="x").ids
    except Misconfigured as error:
        assert re.match(r"x: (?:entry \d+ is no|an encryption|encryption key|there is no)", str(error))  # noqa: PT017
