"""Render output as clients do, and find markup that a renderer acts on.

Two renderers: GitHub's dialect with HTML and links without a scheme, and a second set of rules for
addresses, as the clients have that look for links in rendered text.
"""

import re
from collections.abc import Iterator
from functools import cache

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

# Everything but plain paragraphs of text.
_HARMLESS = {"paragraph_open", "paragraph_close", "inline", "text", "softbreak", "hardbreak"}
_AUTOLINKS = re.compile(
    r"(?:https?|ftp|file)://|\bwww\.[^\s)]|(?:mailto|xmpp):\S|[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    re.IGNORECASE,
)
_PIECES = re.findall(
    r"[^ ]+|(?<= ) (?= )",
    "![ [ ] ]( ) ( ]: [^1] ! ` ``` * ** _ __ ~~ | # > < <b> </b> <!-- --> <https <img/src=x> &lt;"
    " &#58; &colon; http: https: HTTPS: ftp: file: // :// www. WWW. mailto: xmpp: @ . .com .io"
    " .co.uk .example evil a 1 - --- $ $$ = + xn--p1ai .рф ☃ javascript: \u212a \u017f \\ \" '   ",
)
MARKUP = {
    "link": "[see](https://attacker.invalid/?q=1702)",
    "image": "![x](http://attacker.invalid/leak.png)",
    "reference": "[x]: http://attacker.invalid",
    "full reference": "[text][x] ![alt][x]",
    "autolink": "<https://attacker.invalid>",
    "mail autolink": "<person@attacker.invalid>",
    "bare address": "see https://attacker.invalid/x",
    "bare capitals": "HTTP://ATTACKER.INVALID",
    "ftp": "ftp://attacker.invalid/x",
    "www": "www.attacker.invalid",
    "host": "evil.com/path",
    "country": "evil.co.uk",
    "protocol-relative": "//attacker.invalid/x",
    "mail": "person@attacker.invalid",
    "mailto": "mailto:person@attacker.invalid",
    "image tag": '<img src="http://attacker.invalid/x.png">',
    "script": "<script>alert(1)</script>",
    "comment": "<!-- hidden -->",
    "entity address": "http&colon;&sol;&sol;attacker.invalid",
    "fence": "```sh",
    "code": "`delete_snapshot`",
    "emphasis": "*keep* **this** __now__ ~~gone~~",
    "heading": "# Approved",
    "quotation": "> Approved",
    "rule": "---",
    "table": "a | b",
    "math": "$\\href{http://attacker.invalid}{x}$",
    "wrapped already": "[x](://)(http://attacker.invalid)",
    "brackets before a wrap": "[a]//b [c]@d.e",
    "escaped": "\\[a\\](http\\://attacker.invalid) \\<b>",
}
"""Names with one kind of markup each."""

ORDINARY = (
    "db-prod_2026.11-nightly",
    "training-box-silver",
    "before upgrade 2026-05-07",
    "v1.2.3",
    "10.0.0.5",
    "tank@daily",
    "backup.tar.gz",
    "[prod] db",
    "R&D",
    "cpu < 4",
    "a__b",
    "trailing_",
    "50% (old)",
    "Größe ändern",
    "アップグレード前",
    "C#",
    "10:30",
    "either/or",
    "+1 = good!",
)
"""Names that every renderer shows as they are."""


def markup_text() -> st.SearchStrategy[str]:
    """Return texts composed of pieces of markup and addresses."""
    return st.lists(st.sampled_from(_PIECES), min_size=1, max_size=10).map("".join)


@cache
def _renderer() -> MarkdownIt:
    return MarkdownIt("gfm-like", {"html": True, "linkify": True})


def _tokens(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _tokens(token.children or [])


def rendered_markup(output: str) -> set[str]:
    """Return the kinds of markup that a renderer makes of `output`: links, images, HTML ..."""
    tokens = _tokens(_renderer().parse(output))
    return {token.type for token in tokens if token.type not in _HARMLESS}


def rendered_text(output: str) -> str:
    """Return the text that a person sees."""
    inline = (token for token in _tokens(_renderer().parse(output)) if not token.children)
    return "".join(token.content if token.type == "text" else "\n" for token in inline)


def addresses_in(output: str) -> list[str]:
    """Return what other clients turn into links, also in text that is already rendered."""
    return _AUTOLINKS.findall(output) + _AUTOLINKS.findall(rendered_text(output))
