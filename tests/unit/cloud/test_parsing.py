"""Parsing the cloud's JSON: no input may break it or mislead a reader."""

import json
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapshot_mcp.cloud.field_readers import (
    MAX_LABELS,
    MAX_TIME_AHEAD,
    drop_future_times,
    read_integer,
    read_number,
    read_time,
)
from snapshot_mcp.cloud.parsing import get_list, get_object, parse_snapshot, parse_virtual_machine
from snapshot_mcp.core.errors import ProtocolError
from snapshot_mcp.core.sanitize import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH, is_sanitized
from snapshot_mcp.models.cloud import (
    MAX_ID,
    CustomImage,
    Environment,
    Features,
    Flavor,
    FrozenModel,
    Keypair,
    Snapshot,
    VirtualMachine,
    VmImage,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEN_PAST_NINE = datetime(2026, 5, 7, 9, 10, tzinfo=UTC)

# The example object of the Snapshots API document, verbatim.
DOCUMENT = """
{
"status": true,
"message": "string",
"snapshot": {
"id": 0,
"name": "string",
"description": "string",
"vm_id": 0,
"region_id": 0,
"status": "string",
"is_image": false,
"size": 0,
"has_floating_ip": false,
"labels": [],
"created_at": "1970-01-01T00:00:00.000Z",
"updated_at": "1970-01-01T00:00:00.000Z",
"region": "string",
"vm_name": "string",
"vm_status": "string",
"vm_environment": {
"id": 0,
"name": "string",
"region": "string",
"created_at": "1970-01-01T00:00:00.000Z",
"features": {
"network_optimised": true
}
},
"vm_flavor": {
"id": 0,
"name": "string",
"cpu": 0,
"ram": 0,
"disk": 0,
"gpu": "string",
"gpu_count": 0,
"labels": [
{
"id": 0,
"label": "string"
}
],
"features": {
"network_optimised": true
}
},
"vm_image": {
"id": 0,
"name": "string",
"type": "string",
"version": "string",
"size": 0,
"display_size": "string",
"is_public": true
},
"vm_keypair": {
"id": 0,
"name": "string",
"environment": "string",
"fingerprint": "string",
"created_at": "1970-01-01T00:00:00.000Z"
}
}
}
"""

FIELDS = sorted(
    {
        field
        for model in (Snapshot, VirtualMachine, Environment, Flavor, VmImage, Keypair, Features)
        for field in model.model_fields
    }
    | {
        "volume_attachments",
        "volume",
        "bootable",
        "size",
        "vmId",
        "createdAt",
        "instance_id",
        "tags",
        "label",
        "custom_image",
        "altered",
    }
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**70),
    st.sampled_from([0, 1, 10**400, -1, 1e308, float("inf"), float("-inf"), float("nan")]),
    st.floats(),
    st.text(max_size=20),
    st.text(st.characters(), max_size=5),
    st.sampled_from(
        [
            "",
            "1",
            " 7 ",
            "true",
            "null",
            "[]",
            "{}",
            '{"id": 3, "name": "n"}',
            '["a", {"label": 1}]',
        ]
    ),
    st.sampled_from(["2026-05-07T09:10:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-1"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=5)), inner, max_size=6),
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(FIELDS), values, max_size=12)
identified = st.tuples(objects, st.integers(min_value=1, max_value=MAX_ID)).map(
    lambda drawn: {**drawn[0], "id": drawn[1]}
)


def collect_texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, FrozenModel):
        return [
            text
            for name in type(value).model_fields
            for text in collect_texts(getattr(value, name))
        ]
    entries = cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()
    return [text for entry in entries for text in collect_texts(entry)]


@given(values)
def test_any_json_is_parsed_or_rejected_with_a_protocol_error(raw: object) -> None:
    for parse in (parse_snapshot, parse_virtual_machine):
        with suppress(ProtocolError):
            assert parse(raw).id >= 1


@given(identified)
@example({"id": 1, "ram": "8", "vm_flavor": {"ram": "nan", "cpu": True, "name": {"name": 3}}})
def test_an_object_with_an_id_is_always_parsed_into_the_declared_types(
    raw: Mapping[str, object],
) -> None:
    for parsed in (parse_snapshot(raw), parse_virtual_machine(raw)):
        assert parsed.id == raw["id"]
        assert type(parsed).model_validate(parsed.model_dump(), strict=True).id == parsed.id
        json.loads(parsed.model_dump_json())


@given(identified)
def test_all_parsed_text_is_sanitized(raw: Mapping[str, object]) -> None:
    for parsed in (parse_snapshot(raw), parse_virtual_machine(raw)):
        for text in collect_texts(parsed):
            assert is_sanitized(text, 2_000)


@given(identified)
def test_an_unknown_field_changes_nothing(raw: Mapping[str, object]) -> None:
    assert parse_snapshot({**raw, "brand_new": {"id": 9, "name": "x"}}) == parse_snapshot(raw)


def test_the_example_of_the_api_document_is_parsed_completely() -> None:
    raw = cast("dict[str, object]", get_object(json.loads(DOCUMENT), "snapshot"))
    features = Features(network_optimised=True)
    # The ids 0 and the times of 1970 are placeholders of the document; no real object has them.
    assert parse_snapshot({**raw, "id": 1701}) == Snapshot(
        id=1701,
        name="string",
        description="string",
        status="string",
        is_image=False,
        size=0,
        has_floating_ip=False,
        labels=(),
        region="string",
        vm_name="string",
        vm_status="string",
        vm_environment=Environment(name="string", region="string", features=features),
        vm_flavor=Flavor(
            name="string",
            cpu=0,
            ram=0,
            disk=0,
            gpu="string",
            gpu_count=0,
            labels=("string",),
            features=features,
        ),
        vm_image=VmImage(
            name="string",
            type="string",
            version="string",
            size=0,
            display_size="string",
            is_public=True,
        ),
        vm_keypair=Keypair(name="string", environment="string", fingerprint="string"),
    )


def test_the_example_of_the_api_document_keeps_all_attributes_in_the_result() -> None:
    raw = cast("dict[str, object]", json.loads(DOCUMENT)["snapshot"])
    result = parse_snapshot({**raw, "id": 1}).model_dump(mode="json", exclude_none=True)
    expected = json.loads(DOCUMENT.replace(".000Z", "Z"))["snapshot"]
    expected["id"] = 1
    expected["vm_flavor"]["labels"] = ["string"]
    assert result == without_placeholders(expected)


def without_placeholders(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the document without the ids 0 and the times of 1970."""
    return {
        key: (
            without_placeholders(cast("dict[str, Any]", value))
            if isinstance(value, dict)
            else value
        )
        for key, value in fields.items()
        if not (value == 0 and key.endswith("id")) and value != "1970-01-01T00:00:00Z"
    }


@pytest.mark.parametrize("raw", [None, [], "", "1701", 1701, True, {}, "{}", '["id"]', '{"id": '])
def test_a_value_that_is_not_an_object_is_rejected(raw: object) -> None:
    for parse in (parse_snapshot, parse_virtual_machine):
        with pytest.raises(ProtocolError):
            parse(raw)


@pytest.mark.parametrize(
    "wrong", [None, 0, -1, True, 1.5, "", "abc", "1701x", 2**63, [1], {"id": 1}]
)
def test_an_object_without_a_valid_id_is_rejected(wrong: object) -> None:
    with pytest.raises(ProtocolError, match="without an id"):
        parse_snapshot({"id": wrong, "name": "web"})


@pytest.mark.parametrize("given_id", [1701, "1701", " 1701 ", 1701.0, "+1701"])
def test_an_id_may_be_text(given_id: object) -> None:
    assert parse_virtual_machine({"id": given_id}).id == 1701


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (-5, -5),
        ("12", 12),
        (" -12 ", -12),
        (4.0, 4),
        (MAX_ID, MAX_ID),
        (str(MAX_ID), MAX_ID),
        (MAX_ID + 1, None),
        (str(MAX_ID + 1), None),
        (10**400, None),
        ("9" * 5_000, None),
        (1e300, None),
        (4.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (False, None),
        ("", None),
        ("4 GB", None),
        ("0x10", None),
        (None, None),
        ([1], None),
        ({}, None),
    ],
)
def test_an_integer_is_parsed_or_omitted(value: object, expected: int | None) -> None:
    assert read_integer(value) == expected
    assert type(read_integer(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (8, 8.0),
        (0.5, 0.5),
        ("0.150000000", 0.15),
        (" 8 ", 8.0),
        ("-1e3", -1000.0),
        ("nan", None),
        ("inf", None),
        (float("nan"), None),
        (float("-inf"), None),
        (10**400, None),
        ("1e400", None),
        (True, None),
        ("eight", None),
        ("", None),
        (None, None),
        ([8], None),
    ],
)
def test_a_number_is_parsed_or_omitted(value: object, expected: float | None) -> None:
    assert read_number(value) == expected
    assert type(read_number(value)) is type(expected)


@given(values)
def test_parsing_a_number_or_a_time_never_fails(value: object) -> None:
    integer, number, time = read_integer(value), read_number(value), read_time(value)
    assert integer is None or (type(integer) is int and abs(integer) <= MAX_ID)
    assert number is None or (type(number) is float and abs(number) <= MAX_ID)
    assert time is None or time.utcoffset() == EPOCH.utcoffset()


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-07T09:10:00Z",
        "2026-05-07T09:10:00",
        "2026-05-07 09:10:00",
        "2026-05-07T09:10:00.000Z",
        "2026-05-07T09:10:00.000000+00:00",
        "2026-05-07T11:10:00+02:00",
        " 2026-05-07T09:10:00Z\n",
    ],
)
def test_a_time_is_utc_with_or_without_its_zone(value: str) -> None:
    assert read_time(value) == TEN_PAST_NINE
    assert parse_snapshot({"id": 1, "created_at": value}).created_at == TEN_PAST_NINE


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30",
        1_778_144_400,
        True,
        [],
        {},
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-05-07T09:10:00\ud800",
        "0001-01-01T00:00:00Z",
        "0000-00-00 00:00:00",
        "1601-01-01T00:00:00Z",
        "1899-12-30",
        "1900-01-01T00:00:00",
        "1969-12-31T23:59:59-05:00",
        "1970-01-01T00:00:00Z",
        "1970-01-01T01:00:00+01:00",
        "1980-01-01T00:00:00Z",
        "2000-01-01T00:00:00Z",
        "2001-01-01",
        "0",
        0,
        -1,
        "-1",
        0.0,
        "null",
        "N/A",
    ],
)
def test_an_invalid_time_is_omitted(value: object) -> None:
    assert read_time(value) is None
    assert parse_snapshot({"id": 1, "created_at": value}).created_at is None


@given(st.datetimes(min_value=datetime(2015, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - the strategy wants naive bounds
def test_every_time_survives_a_round_trip(time: datetime) -> None:
    aware = time.replace(tzinfo=UTC)
    assert read_time(time.isoformat()) == read_time(f"{time.isoformat()}Z") == aware


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        ("true", True),
        (" False ", False),
        (2, None),
        (1.0, None),
        ("yes", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_a_boolean_is_parsed_or_omitted(value: object, *, expected: bool | None) -> None:
    assert parse_snapshot({"id": 1, "is_image": value}).is_image is expected


LABELS: list[tuple[object, tuple[str, ...] | None]] = [
    (["a", "b"], ("a", "b")),
    ([{"id": 1, "label": "a"}, {"name": "b"}], ("a", "b")),
    ("a,b", ("a", "b")),
    ("a, b ,c", ("a", "b", "c")),
    ("a", ("a",)),
    ('["a", "b"]', ("a", "b")),
    ('[{"label": "a"}]', ("a",)),
    (["a", ""], ("a",)),
    ("", ()),
    (",,", ()),
    ([], ()),
    ("", ()),
    (None, None),
]
UNREADABLE_LABELS: list[tuple[object, tuple[str, ...] | None]] = [
    ([7, None, "", {}, [], {"label": None}, True], ("7",)),
    (5, None),
    ({"label": "a"}, None),
]


@pytest.mark.parametrize(("value", "expected"), UNREADABLE_LABELS)
def test_unreadable_labels_are_reported_as_altered_because_one_may_protect(
    value: object, expected: tuple[str, ...] | None
) -> None:
    snapshot = parse_snapshot({"id": 1, "labels": value})
    assert snapshot.labels == expected
    assert snapshot.altered == ("labels",)


@pytest.mark.parametrize(("value", "expected"), LABELS)
def test_labels_are_parsed_from_every_known_shape(
    value: object, expected: tuple[str, ...] | None
) -> None:
    snapshot = parse_snapshot({"id": 1, "labels": value})
    assert snapshot.labels == expected
    assert snapshot.altered is None


@pytest.mark.parametrize("value", [None, "", {}, []])
def test_an_empty_image_means_that_there_is_none(value: object) -> None:
    snapshot = parse_snapshot({"id": 1, "custom_image": value})
    assert snapshot.custom_image is None
    assert not snapshot.is_unknown("custom_image")


@pytest.mark.parametrize("fields", [{}, {"custom_image": 7}, {"custom_image": {"uuid": "x"}}])
def test_an_image_is_unknown_if_it_is_omitted_or_unreadable(fields: dict[str, object]) -> None:
    assert parse_snapshot({"id": 1, **fields}).is_unknown("custom_image")


def test_an_empty_list_of_labels_as_text_has_no_label() -> None:
    assert parse_snapshot({"id": 1, "labels": "[]"}).labels == ()


def test_excess_labels_are_omitted_and_reported_as_altered() -> None:
    snapshot = parse_snapshot({"id": 1, "labels": [f"l{n}" for n in range(MAX_LABELS + 1)]})
    assert len(snapshot.labels or ()) == MAX_LABELS
    assert snapshot.altered == ("labels",)


def test_a_long_label_is_truncated_and_reported_as_altered() -> None:
    snapshot = parse_snapshot({"id": 1, "labels": ["x" * 1_000, "fine"]})
    assert snapshot.labels is not None
    assert len(snapshot.labels[0]) <= MAX_NAME_LENGTH
    assert (snapshot.labels[1], snapshot.altered) == ("fine", ("labels",))


def test_very_long_label_text_is_truncated_quickly() -> None:
    snapshot = parse_snapshot({"id": 1, "labels": "a," * 1_000_000})
    assert snapshot.labels == ("a",) * MAX_LABELS
    assert snapshot.altered == ("labels",)


@pytest.mark.parametrize(
    ("value", "size"), [(40, 40), (0, 0), ("40", 40), (-1, None), ("-5", None), (True, None)]
)
def test_a_size_is_never_negative(value: object, size: int | None) -> None:
    snapshot = parse_snapshot({"id": 1, "size": value, "vm_image": {"name": "a", "size": value}})
    assert snapshot.size == size
    assert snapshot.vm_image == VmImage(name="a", size=size)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"volume_attachments": None}, False),
        ({"volume_attachments": []}, False),
        ({"volume_attachments": [{"bootable": True}]}, True),
        ({"volume_attachments": [{"volume": {"bootable": True}}]}, True),
        ({"volume_attachments": [{"volume": {"bootable": "true"}}]}, True),
        ({"volume_attachments": [{"volume": {"bootable": False}}]}, False),
        ({"volume_attachments": [{"volume": {"bootable": False}}, {"bootable": True}]}, True),
        ({"volume_attachments": [{"bootable": False, "volume": {"bootable": True}}]}, True),
        ({"volume_attachments": [{"volume": {"size": 7}}]}, None),
        ({"volume_attachments": [{"volume": {"bootable": False}}, "text"]}, None),
        ({"volume_attachments": [None, {"bootable": True}]}, True),
        ({"volume_attachments": "text"}, None),
        ({"volume_attachments": {"bootable": True}}, None),
        ({"boots_from_volume": True}, None),
    ],
)
def test_a_vm_runs_on_a_bootable_volume_if_an_attachment_says_so(
    fields: dict[str, object], *, expected: bool | None
) -> None:
    assert parse_virtual_machine({"id": 1, **fields}).boots_from_volume is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"cluster_id": None}, False),
        ({"cluster_id": 0}, False),
        ({"cluster_id": 12}, True),
        ({"cluster_id": "12"}, True),
        ({"cluster_id": "c-7"}, True),
    ],
)
def test_a_vm_is_a_node_of_a_cluster_if_it_has_the_id_of_one(
    fields: dict[str, object], *, expected: bool | None
) -> None:
    assert parse_virtual_machine({"id": 1, **fields}).in_cluster is expected


def test_altered_labels_are_reported_once() -> None:
    labels = ["a\u200b", "\u202e", *("\u200bx" for _ in range(MAX_LABELS))]
    snapshot = parse_snapshot({"id": 1, "labels": labels})
    assert (snapshot.labels or ())[:2] == ("a", "x")
    assert snapshot.altered == ("labels",)


@pytest.mark.parametrize(
    "raw",
    [
        {"vm_id": 5, "vm_name": "web", "labels": ["a"], "created_at": "2026-05-07T09:10:00Z"},
        {"vmId": 5, "vmName": "web", "labels": ["a"], "createdAt": "2026-05-07T09:10:00Z"},
        {
            "virtual_machine_id": "5",
            "virtual_machine_name": "web",
            "tags": "a",
            "createdAt": "2026-05-07T09:10:00",
        },
        {"instance_id": 5, "instance_name": "web", "tags": ["a"], "created_at": "2026-05-07 09:10"},
    ],
)
def test_a_renamed_or_camel_case_key_is_still_found(raw: Mapping[str, object]) -> None:
    snapshot = parse_snapshot({"id": 1, **raw})
    assert (snapshot.vm_id, snapshot.vm_name, snapshot.labels) == (5, "web", ("a",))
    assert snapshot.created_at == TEN_PAST_NINE


def test_the_documented_key_takes_precedence_unless_it_is_null() -> None:
    assert parse_snapshot({"id": 1, "vm_id": 5, "instance_id": 6}).vm_id == 5
    assert parse_snapshot({"id": 1, "vm_id": None, "instance_id": 6}).vm_id == 6
    assert parse_snapshot({"id": 1, "vm_id": "none", "instance_id": 6}).vm_id == 6


def test_the_cloud_cannot_set_the_altered_field() -> None:
    assert parse_snapshot({"id": 1, "altered": ["name"]}).altered is None


@pytest.mark.parametrize(
    "flavor",
    [
        {"name": "n1", "cpu": 4, "features": {"no_snapshot": True}},
        '{"name": "n1", "cpu": "4", "features": {"no_snapshot": "true"}}',
        [{"name": "n1", "cpu": 4.0, "features": '{"noSnapshot": 1}'}],
    ],
)
def test_a_nested_object_may_be_json_text_or_in_a_list(flavor: object) -> None:
    nested = parse_snapshot({"id": 1, "vm_flavor": flavor}).vm_flavor
    assert nested == Flavor(name="n1", cpu=4, features=Features(no_snapshot=True))


def test_plain_text_in_place_of_a_nested_object_is_its_name() -> None:
    snapshot = parse_snapshot({"id": 1, "vm_image": "Ubuntu 24.04", "custom_image": "golden"})
    assert snapshot.vm_image == VmImage(name="Ubuntu 24.04")
    assert snapshot.custom_image == CustomImage(name="golden")


@pytest.mark.parametrize("empty", [None, "", "  ", {}, [], "{}", 0, False, [[]], {"unknown": 1}])
def test_an_empty_nested_object_is_omitted(empty: object) -> None:
    snapshot = parse_snapshot({"id": 1, "vm_flavor": empty, "custom_image": empty})
    assert snapshot.vm_flavor is None
    assert snapshot.custom_image is None
    assert parse_snapshot({"id": 1, "vm_flavor": {"features": "fast"}}).vm_flavor is None


def test_an_object_in_place_of_text_is_read_by_its_name() -> None:
    keypair = {"name": "ops", "environment": {"id": 3, "name": "default-NORWAY-1"}}
    nested = parse_snapshot({"id": 1, "vm_keypair": keypair}).vm_keypair
    assert nested == Keypair(name="ops", environment="default-NORWAY-1")


def test_a_number_in_place_of_text_is_read_as_text() -> None:
    assert parse_snapshot({"id": 1, "name": 42}).name == "42"
    assert parse_snapshot({"id": 1, "name": True}).name == ""
    assert parse_snapshot({"id": 1, "name": 10**5_000}).name == ""


def test_deeply_nested_json_is_read_as_text() -> None:
    deep = parse_snapshot({"id": 1, "vm_flavor": "[" * 19_000, "labels": '{"a":' * 3_000})
    assert deep.vm_flavor is not None
    assert len(deep.vm_flavor.name or "") == MAX_NAME_LENGTH


def test_json_in_text_that_is_too_long_is_not_parsed() -> None:
    flavor = json.dumps({"name": "n1", "cpu": 4, "padding": "x" * 20_000})
    nested = parse_snapshot({"id": 1, "vm_flavor": flavor}).vm_flavor
    assert nested is not None
    assert nested.cpu is None


def test_altered_text_is_reported_by_its_field_name() -> None:
    snapshot = parse_snapshot(
        {
            "id": 1,
            "name": "prod\u202edorp",
            "description": "x" * (MAX_DESCRIPTION_LENGTH + 1),
            "vm_name": "web",
            "vm_keypair": {"name": "op\u200bs", "public_key": "ssh-rsa " + "A" * 700},
        }
    )
    assert snapshot.altered == ("name", "description", "vm_keypair.name")
    assert snapshot.name == "proddorp"


@pytest.mark.parametrize("field", ["name", "vm_name", "status", "region", "volume_name"])
def test_a_long_text_is_truncated_and_reported_as_altered(field: str) -> None:
    snapshot = parse_snapshot({"id": 1, field: "x" * (MAX_NAME_LENGTH + 1)})
    assert 10 < len(cast("str", getattr(snapshot, field))) <= MAX_NAME_LENGTH
    assert snapshot.altered == (field,)


def test_a_name_that_is_not_in_nfc_is_reported_as_altered() -> None:
    snapshot = parse_snapshot({"id": 1, "name": unicodedata.normalize("NFD", "café")})
    assert snapshot.name == "café"
    assert snapshot.altered == ("name",)


def test_an_object_is_found_under_the_first_key_that_has_one() -> None:
    one, two = {"id": 1}, {"id": 2}
    assert get_object({"instances": [one], "instance": two}, "instances", "instance") == one
    assert get_object({"instances": None, "instance": two}, "instances", "instance") == two
    assert get_object({"instances": [], "instance": two}, "instances", "instance") == two


@pytest.mark.parametrize("value", [None, "text", 7, [], [{"id": 1}, {"id": 2}], [None], [[]]])
def test_a_missing_or_ambiguous_object_is_rejected(value: object) -> None:
    with pytest.raises(ProtocolError, match='"instances"'):
        get_object({"instances": value}, "instances")


def test_a_list_is_found_or_rejected() -> None:
    assert get_list({"snapshots": [1, None]}, "snapshots") == [1, None]
    for value in (None, {"snapshots": 1}, "[]", 3):
        with pytest.raises(ProtocolError, match='"snapshots"'):
            get_list({"snapshots": value}, "snapshots")


def test_a_value_that_means_none_is_omitted() -> None:
    for number in (0, -1, "0", "-1", 0.0, "", None):
        raw = {"id": 1, "vm_id": number, "region_id": number, "volume_id": number}
        snapshot = parse_snapshot(raw)
        assert (snapshot.vm_id, snapshot.region_id, snapshot.volume_id) == (None, None, None)
    texts = ("region", "vm_name", "vm_status", "status", "description")
    values: tuple[object, ...] = ("", " ", None, ())
    for text in values:
        snapshot = parse_snapshot({"id": 1, **dict.fromkeys(texts, text)})
        assert [getattr(snapshot, name) for name in texts] == [None] * len(texts)
    flavor = parse_snapshot({"id": 1, "vm_flavor": {"disk": -1, "gpu_count": -1}}).vm_flavor
    assert flavor is None
    assert parse_snapshot({"id": 1, "vm_id": 0, "instance_id": 5}).vm_id == 5


NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "stays"),
    [
        ("2026-11-20T11:59:00Z", True),
        ("2026-11-21T11:59:00Z", True),  # a clock that is ahead
        ("20261121T115900Z", True),
        ("2026-11-21T23:00:00+12:00", True),
        ("2026-11-21T12:01:00Z", False),
        ("2026-11-22", False),
        ("20261122T115900Z", False),
        ("2038-01-19T03:14:07Z", False),
        ("2100-01-01", False),
        ("9999-12-31T23:59:59Z", False),
        ("9999-12-31T23:59:59.999999+00:00", False),
    ],
)
def test_a_time_in_the_future_is_omitted(time: str, *, stays: bool) -> None:
    entry = {"id": 1, "created_at": time, "createdAt": time, "time": time}
    nested: dict[str, object] = {"id": 1, "custom_image": {"id": 2, "created_at": time}}
    body: dict[str, object] = {"count": 1, "list": [entry, "x", None], "snapshot": nested}
    before = json.loads(json.dumps(body))
    drop_future_times(body, NOON)
    assert (body == before) == stays
    kept = parse_snapshot(entry).created_at
    assert (kept is not None) == stays
    image = parse_snapshot(nested).custom_image
    assert image is not None
    assert (image.created_at is not None) == stays


@given(st.datetimes(datetime(2015, 1, 1), datetime(9999, 12, 31)), st.booleans())  # noqa: DTZ001 - the strategy wants naive bounds
def test_only_times_more_than_a_day_ahead_are_omitted(
    time: datetime,
    is_basic: bool,  # noqa: FBT001 - Hypothesis passes it by name
) -> None:
    text = time.strftime("%Y%m%dT%H%M%S.%f") if is_basic else time.isoformat()
    entry: dict[str, object] = {"created_at": text}
    drop_future_times({"list": [entry]}, NOON)
    assert (entry["created_at"] is None) == (time.replace(tzinfo=UTC) > NOON + MAX_TIME_AHEAD)
    drop_future_times([entry], NOON)
    drop_future_times(None, NOON)
