"""An event is a value."""

from __future__ import annotations

import gc

import pytest

from tickertape import Event


def test_an_event_is_a_message_without_an_id_unless_it_says_otherwise():
    event = Event("x")
    assert (event.data, event.type, event.id, event.retry) == ("x", "message", "", None)


def test_the_fields_come_in_the_order_data_type_id_retry():
    assert Event("d", "t", "i", 5) == Event(data="d", type="t", id="i", retry=5)


def test_events_with_equal_fields_are_equal_and_have_equal_hashes():
    assert Event("x", id="1") == Event("x", id="1")
    assert len({Event("x", id="1"), Event("x", id="1"), Event("x", id="2")}) == 2


def test_an_event_can_be_matched_by_its_fields():
    match Event("x", "delta"):
        case Event(data=data, type="delta"):
            assert data == "x"
        case other:
            pytest.fail(f"{other} was not matched")


def test_an_event_cannot_be_changed():
    with pytest.raises(AttributeError):
        Event("x").data = "y"


def test_an_event_shows_its_fields():
    assert repr(Event("x", id="1")) == "Event(data='x', type='message', id='1', retry=None)"


def test_an_event_costs_the_garbage_collector_nothing():
    assert not gc.is_tracked(Event("x"))
