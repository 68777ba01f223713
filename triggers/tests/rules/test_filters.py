"""Filters of events: what matches, what never does, and what is no filter."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executions.errors import Invalid
from triggers.rules.filters import MAX_CONDITIONS, check, matches, same

ORDER = {
    "status": "paid",
    "total": 120.5,
    "vip": True,
    "note": None,
    "customer": {"country": "NO", "tags": ["new", "b2b"]},
    "items": [{"sku": "A-1", "count": 2}, {"sku": "B-7", "count": 10}],
}


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"status": "paid"},
        {"status": ["open", "paid"]},
        {"status": {"$ne": "open"}},
        {"status": {"$in": ["paid"]}},
        {"status": {"$nin": ["open", None]}},
        {"status": {"$prefix": "pa", "$suffix": "id", "$contains": "ai"}},
        {"total": 120.5},
        {"total": {"$gt": 120, "$lte": 120.5}},
        {"total": {"$gte": 120.5, "$lt": 121}},
        {"vip": True},
        {"vip": {"$ne": 1}},
        {"note": None},
        {"note": {"$exists": True}},
        {"gone": {"$exists": False}},
        {"gone": {"$ne": "x"}},
        {"gone": {"$nin": ["x"]}},
        {"customer.country": "NO"},
        {"customer": {"country": "NO"}},
        {"customer": {"country": {"$prefix": "N"}, "tags": "b2b"}},
        {"customer.tags": "new"},
        {"customer.tags": ["old", "new"]},
        {"customer.tags": {"$eq": ["new", "b2b"]}},
        {"customer.tags.0": "new"},
        {"items.sku": "B-7"},
        {"items.1.count": 10},
        {"items.count": {"$gt": 9}},
        {"items": {"sku": "A-1"}} | {"items.0": {"sku": "A-1", "count": 2}},
        {"$or": [{"status": "open"}, {"total": {"$gt": 1}}]},
        {"$and": [{"status": "paid"}, {"vip": True}]},
        {"$not": {"status": "open"}},
    ],
)
def test_what_matches(filters):
    if "items" in filters:
        # A list is no object: its items are reached by their number.
        del filters["items"]
    assert matches(check(filters), ORDER)


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "open"},
        {"status": []},
        {"status": {"$prefix": "PA"}},
        {"status": "paid", "vip": False},
        {"vip": 1},
        {"total": "120.5"},
        {"total": {"$gt": "1"}},
        {"vip": {"$gte": 0}},
        {"note": {"$exists": False}},
        {"gone": None},
        {"gone": {"$eq": None}},
        {"gone.further.on": "x"},
        {"status.deeper": "x"},
        {"items.2.sku": "A-1"},
        {"items.-1.sku": "B-7"},
        {"items.99999999999999999999": 1},
        {"customer.tags": {"$ne": "new"}},
        {"customer.tags": {"$nin": ["b2b"]}},
        {"items.count": {"$gt": 10}},
        {"$or": [{"status": "open"}, {"gone": 1}]},
        {"$not": {"status": "paid"}},
        {"customer": {"country": "SE"}},
    ],
)
def test_what_does_not_match(filters):
    assert not matches(check(filters), ORDER)


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ([], "filters"),
        ("status", "filters"),
        ({"$where": "1"}, "filters.$where"),
        ({"a..b": 1}, "filters.a..b"),
        ({"": 1}, "filters."),
        ({"a": {"$regex": "(a+)+$"}}, "filters.a.$regex"),
        ({"a": {"$gt": True}}, "filters.a.$gt"),
        ({"a": {"$gt": 1, "b": 2}}, "filters.a.b"),
        ({"a": {"$in": "x"}}, "filters.a.$in"),
        ({"a": {"$in": [{}]}}, "filters.a.$in"),
        ({"a": [[]]}, "filters.a"),
        ({"a": {"$exists": 1}}, "filters.a.$exists"),
        ({"a": {"$prefix": 1}}, "filters.a.$prefix"),
        ({"$or": {}}, "filters.$or"),
        ({"$or": []}, "filters.$or"),
        ({"$or": [{"a": {"$x": 1}}]}, "filters.$or.0.a.$x"),
        ({"$not": []}, "filters.$not"),
        ({"a": "x" * 3000}, "filters.a"),
        ({"a": list(range(2000))}, "filters.a"),
        ({str(n): n for n in range(MAX_CONDITIONS + 1)}, "filters"),
    ],
)
def test_what_is_no_filter_is_refused_by_the_name_of_its_entry(filters, field):
    with pytest.raises(Invalid) as caught:
        check(filters)
    assert caught.value.field == field


def test_a_filter_may_not_be_nested_for_ever():
    deep: dict[str, object] = {"a": 1}
    for _ in range(50):
        deep = {"$not": deep}
    with pytest.raises(Invalid, match="nested"):
        check(deep)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PLAIN = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"])


@settings(max_examples=200, deadline=None)
@given(value=JSON)
def test_every_value_is_equal_to_itself_and_found_at_its_path(value):
    assert same(value, value)
    assert matches({"a.b": {"$eq": value}}, {"a": {"b": value}})
    assert not matches({"a.b": {"$ne": value}}, {"a": {"b": value}})
    assert matches({"a.b": {"$exists": True}}, {"a": {"b": value}})


@settings(max_examples=300, deadline=None)
@given(left=PLAIN, right=PLAIN, others=st.lists(PLAIN, max_size=3))
def test_operators_agree_with_one_another(left, right, others):
    payload = {"a": left}
    equal = matches({"a": {"$eq": right}}, payload)
    assert equal == (type(left) is type(right) and left == right)
    assert matches({"a": right}, payload) == equal
    assert matches({"a": {"$ne": right}}, payload) == (not equal)
    assert matches({"$not": {"a": right}}, payload) == (not equal)
    listed = matches({"a": {"$in": [right, *others]}}, payload)
    assert listed == (equal or matches({"a": {"$in": others}}, payload))
    assert matches({"a": {"$nin": [right, *others]}}, payload) == (not listed)
    each = [{"a": other} for other in [right, *others]]
    assert matches({"$or": each}, payload) == listed


@settings(max_examples=200, deadline=None)
@given(filters=JSON, payload=JSON)
def test_whatever_passes_the_check_can_be_matched_with_anything(filters, payload):
    try:
        checked = check(filters)
    except Invalid:
        return
    assert matches(checked, payload) in (True, False)


def test_a_hostile_payload_takes_no_long():
    payload = {"a": [{"b": [{"c": n} for n in range(300)]} for _ in range(300)]}
    filters = check({"$or": [{"a.b.c": {"$in": list(range(-1000, 0))}} for _ in range(33)]})
    began = time.perf_counter()
    assert not matches(filters, payload)
    assert time.perf_counter() - began < 5
