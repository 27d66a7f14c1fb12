"""Which words tell who a patient is, and whether a name or a text holds one of them (L-17)."""

import re
import unicodedata
from functools import lru_cache

# How names are spelt where there are no such letters, as in most names of folders.
SPELT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "œ": "oe"})
SHORTEST = 3  # letters; shorter ones stand in any word
SYLLABLES = "\u1100"  # and what follows, of Korea, China and Japan: one of them is a name


@lru_cache(maxsize=64)  # all files of a series have the same
def words_of(texts: tuple[str, ...]) -> frozenset[str]:
    """The words of a patient's attributes, in every spelling that a folder may have them in."""
    words: set[str] = set()
    for text in texts:
        for word in (text, *re.split(r"[\W_]+", text)):
            composed = unicodedata.normalize("NFC", word).casefold()
            words |= {_folded(composed), _folded(composed.translate(SPELT))}
    return frozenset(word for word in words if len(word) >= SHORTEST or max(word, default="")
                     >= SYLLABLES)  # fmt: skip


def tells(text: str, private: frozenset[str]) -> bool:
    """Whether a text holds one of these words, whatever its accents and capitals."""
    folded = _folded(text)
    return any(word in folded for word in private)


def anonymous(name: str, private: frozenset[str]) -> str:
    """A file's name, unless it tells who the patient is."""
    return "a file" if tells(name, private) else name


def _folded(text: str) -> str:
    """In lower case, without accents, however these are encoded: as macOS does, or others."""
    parts = unicodedata.normalize("NFKD", text).casefold()
    return "".join(part for part in parts if not unicodedata.combining(part))
