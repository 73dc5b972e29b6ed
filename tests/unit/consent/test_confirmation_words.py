"""Confirmation words: the name only if it is distinctive plain text, else the id."""

# ruff: noqa: RUF001 - words in many alphabets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.consent.confirmation_words import target_words
from snapshot_mcp.core.sanitize import contains_markup, quoted
from snapshot_mcp.mcp_server.panel.tools import PANEL_TOOLS
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.rules.retention_batch import confirmation_words
from tests.hostile.rendered import MARKUP, markup_text

HABITUAL = """\
yes|y|yeah|yep|yes please|yes, delete it|please|pls|ok|okay|okey|OKAY!|ok ok ok|sure|confirm
confirmed|I confirm|approve|approved|accept|agree|agreed|true|True|false|null|none|go ahead|do it
delete|DELETE|remove|destroy|restore|continue|proceed|yesyes|yeees|YesOk|okdelete|delete!|just do it
oui|d'accord|sí, claro|si|vale|confirmar|ja|jawohl|bestätigen|löschen|sim|certo|conferma|tak|ano
да|да, конечно|подтверждаю|удалить|evet|onayla|tamam|kyllä|igen|はい|削除|はい、お願いします|確認
确认删除|是的|好的|네|확인|हाँ|نعم|موافق|כן|ναι|ใช่|đồng ý|xác nhận|bekræft|radera|onaylıyorum
snapshot|the snapshot|snapshot 1702|Snapshot-1702|id 1702|id: 1702|number 1702|vm 5601|1702|#1702
1_702|17.02|0x6a6|\u0661\u0667\u0660\u0662|\uff11\uff17|\u2167|db-1|web|a|---|...
\uff59\uff45\uff53 ok|delete 12 snapshotz|delte 3 snapshot|deletesnapshotz""".replace(
    "\n", "|"
).split("|")
DISTINCTIVE = [
    "training-box-golden",
    "db-prod_2026.11-nightly",
    "before upgrade 2026-05-07",
    "notebook-shared-before-resize",
    "node",
    "nova",
    "prod",
    "golden",
    "yesterday",
    "okinawa",
    "delete-me-after-friday",
    "image-server-03",
    "rehearsal-back-again",
    "生产数据库快照",
    "перед обновлением",
    "アップグレード前のもの",
]


@pytest.mark.parametrize("name", HABITUAL)
def test_a_habitual_or_short_name_or_a_number_is_replaced_by_the_id(name: str) -> None:
    for spelling in (name, name.upper(), name.title(), f"{name}."):
        assert target_words(spelling, 77) == "77"


@pytest.mark.parametrize("name", DISTINCTIVE)
def test_a_distinctive_name_is_used(name: str) -> None:
    assert target_words(name, 77) == name
    assert target_words(name, 77, altered=("vm_name",)) == name
    assert target_words(name, 77, altered=("labels", "name")) == "77"


@pytest.mark.parametrize("tool", [tool.name for tool in (*TOOLS, *PANEL_TOOLS)])
def test_the_name_of_a_tool_is_replaced_by_the_id(tool: str) -> None:
    assert target_words(tool, 77) == target_words(tool.replace("_", " ").title(), 77) == "77"


@pytest.mark.parametrize("text", MARKUP.values(), ids=MARKUP)
def test_markup_is_replaced_by_the_id(text: str) -> None:
    assert target_words(text, 77) == "77"


@pytest.mark.parametrize("name", ["", 'say "yes"', "back\\slash", "pr\u043eduction", " padded"])
def test_text_that_is_not_plain_is_replaced_by_the_id(name: str) -> None:
    assert target_words(name, 77) == "77"


@pytest.mark.parametrize("count", [0, 1, 12, 9_999])
@pytest.mark.parametrize("form", ["{}", "{}!", "{} now", "please {}", "{} old"])
def test_a_name_like_the_words_of_a_batch_is_replaced_by_the_id(count: int, form: str) -> None:
    phrase = form.format(confirmation_words(count))
    spellings = (phrase, phrase.upper(), phrase.replace(" ", "-"), phrase.replace(" ", ""))
    for name in (*spellings, phrase.replace("snapshots", "snapshotz")):
        assert target_words(name, 77) == "77"


@given(st.one_of(st.text(max_size=60), markup_text(), st.sampled_from(HABITUAL + DISTINCTIVE)))
def test_the_words_are_the_id_or_distinctive_plain_text(name: str) -> None:
    words = target_words(name, 77)
    assert words in {name, "77"}
    if words != "77":
        assert sum(map(str.isalpha, words)) >= 4
        assert quoted(words) == f'"{words}"'
        assert not contains_markup(words)
        assert words.casefold() not in HABITUAL
