"""The words that a person types to agree: one function for plan, question, panel and gate.

A person types habitual words without reading, and a model writes them without a person. A name is
used only if it identifies its target and cannot be mistaken for anything else; otherwise the id is.
"""

import re
import unicodedata
from collections.abc import Collection
from functools import cache

from snapshot_mcp.core.sanitize import contains_markup, is_sanitized, mixes_scripts, quoted_exactly

_MIN_LETTERS = 4
_MIN_PART = 3
_MIN_SIMILARITY = 0.87
_WORD = re.compile(r"[^\W\d_]+")
_REPEATED = re.compile(r"(.)\1+")
_BATCH_WORDS = ("delete", "snapshot", "snapshots", "deletesnapshots")
"""The letters of the confirmation words of a batch, "delete 12 snapshots", and of their parts."""

# Answers, commands, the words of this server's tools, and what people write around them. A name
# that consists of nothing else, in any order and spelling, is habitual.
# ruff: noqa: RUF001 - words in many alphabets
_HABITUAL = """
absolutely accept accepted accepts affirmative agree agreed agrees ahead all allow allowed alright
approve approved approves aye certainly confirm confirmed confirms confirmation consent continue
correct definitely do does done enter exactly execute false fine go good grant granted great i
indeed it just me my n no nope now null none of off ok okay okey okeydokey old on perfect
permit please pls proceed right roger run sure submit thank thanks that the them these they
this those to true undefined want we yea yeah yep yes yup you y
abort apply cancel change changes commit create delete deleted deletes destroy drop erase events for
from id image images inspect kill list machine machines name new number panel permanently plan plans
purge rehearsal rehearse remove removed restore restored retention review snap snaps snapshot
snapshots stop token undo virtual vm vms word words
accord bestätigen bestätigt bitte d'accord einverstanden genau ja jawohl klar löschen natürlich
richtig sicher weiter zustimmen
accepte accepter bien certainement confirme confirmer oui ouais supprimer sur valide valider
volontiers
aceptar acepto acuerdo adelante borrar bueno claro confirmado confirmar confirmo de eliminar favor
por seguro si vale
aceitar aceito apagar certo excluir sim
accetto bene conferma confermare confermo elimina eliminare esatto va
akkoord bevestig bevestigen goed verwijderen zeker
bekreft bekræft bekräfta fjern godkend godkjenn godkänn godta jada jo joda radera selvfølgelig slet
slett visst
hyväksy joo kyllä poista vahvista
dobrze potwierdź potwierdzam tak usuń zgoda
ano jasne potvrdit smazat souhlasím
igen rendben törlés da desigur sigur șterge ștergeți
evet kabul onayla onaylıyorum onayliyorum sil tamam
iya hapus konfirmasi setuju ya đồng dong ý vâng xác nhận xóa ndiyo sawa
да ага давай конечно ладно подтвердить подтверждаю согласен согласна удали удалить хорошо
верно так добре згоден підтверджую видалити
ναι εντάξει σίγουρα διαγραφή
כן אישור בסדר מחק
نعم موافق تأكيد حسنا أجل احذف حذف
हाँ हां ठीक है पुष्टि हटाएं
はい うん 削除 確認 了解 承認 同意 お願いします
네 예 확인 삭제 동의 좋아요
是 是的 好 好的 对 確認 确认 同意 删除 刪除 可以 行
ใช่ ตกลง ยืนยัน ลบ
"""


def target_words(name: str, object_id: int, altered: Collection[str] = ()) -> str:
    """Return the name of the target, or its id if the name is not distinctive plain text.

    Args:
        name: the name of the snapshot or VM.
        object_id: its id.
        altered: the fields from which sanitizing removed something.
    """
    return name if "name" not in altered and _is_distinctive(name) else str(object_id)


def _is_distinctive(name: str) -> bool:
    is_plain = is_sanitized(name) and quoted_exactly(name) == f'"{name}"'
    if not is_plain or contains_markup(name) or mixes_scripts(name):
        return False
    return sum(map(str.isalpha, name)) >= _MIN_LETTERS and not all(map(_is_habitual, _fold(name)))


def _fold(text: str) -> list[str]:
    """Return the words of `text` without accents, case and repetitions of a letter."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return [_REPEATED.sub(r"\1", word) for word in _WORD.findall(letters)]


@cache
def _habitual_words() -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the habitual words, and those of them that need no separator between them.

    Most short ones need one, because they are parts of ordinary words, as in "node".
    """
    words = frozenset(folded for word in _HABITUAL.split() for folded in _fold(word))
    return words, tuple(
        word for word in words if len(word) >= _MIN_PART or word == "ok" or not word.isascii()
    )


def _is_habitual(word: str) -> bool:
    words, parts = _habitual_words()
    ends = {0}
    for start in range(len(word)):
        if start in ends:
            ends |= {start + len(part) for part in parts if word.startswith(part, start)}
    return word in words or len(word) in ends or _resembles_batch_phrase(word)


def _resembles_batch_phrase(word: str) -> bool:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a plan

    return bool(get_close_matches(word, _BATCH_WORDS, n=1, cutoff=_MIN_SIMILARITY))
