"""Finds where written text may be cut: after sentences, after clauses, between words, inside words.

Every public function yields offsets c with start < c < stop in ascending order; the text may be cut into [:c] and
[c:]. It expects a text whose whitespace `lines.collapse_lines` has collapsed, and takes time linear in stop - start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .cleaners import ABBREVIATIONS
from .english.tables import AFTER_TIME, SHORT_MONTHS, SHORT_WEEKDAYS
from .english.tables import STARTERS as _STARTERS

_CLOSERS = "\"'”’»)\\]"
# A full stop inside "3.5" or "example.com" has no space after it, so it does not end a sentence. Because of the
# look-behind, a long row of full stops is matched only at its first one, not again at each of them.
_SENTENCE_END = re.compile(rf"(?<![.!?…])([.!?…]+)([{_CLOSERS}]*)(?=[ \n])|[。！？]+[」』{_CLOSERS}]*|(?=\n)(?<!\n)")
# A single full stop inside a sentence belongs to an abbreviation: "Dr." is not a clause.
_CLAUSE_END = re.compile(
    rf"(?<![.!?…])(?:[!?…]|\.[.!?…])[.!?…]*[{_CLOSERS}]*(?= )|"
    rf"[,;:][{_CLOSERS}]*(?= )|[)\]](?= )|—+|--+|–(?= )|[，、；：]"
)
END_CHARACTERS = frozenset(".!?…。！？」』\"'”’»)]")  # of which the end of a sentence may consist
_SPACE = re.compile(" ")
_INITIAL = re.compile(r"[A-Z]")
_ITEM = re.compile(r"[0-9]{1,3}|[A-Za-z]")  # the number of a list's item
_DOTTED = re.compile(r"[A-Za-z]{1,2}(\.[A-Za-z]{1,2})+")
_NEXT_WORD = re.compile(r"[\"'(“‘\[]{0,3}([A-Za-z'’]{0,24})")
_LONGEST_ABBREVIATION = 6  # letters, of one that is in none of the lists

# Abbreviations before a name or an example: never the end of a sentence.
BEFORE_MORE = frozenset(ABBREVIATIONS) | set(
    "ms prof mt messrs mme mlle gov sen rep pres supt insp cpl pvt cmdr adm pfc fr vs cf viz e.g i.e approx".split()
)
# Abbreviations after a name, a list or a time: the end of a sentence unless lower case, capitals or a zone follow.
AFTER_NAME = frozenset(
    "co jr sr esq ltd inc corp bros llc plc etc al a.m p.m dept univ assn ave blvd rd ln sq hwy pkwy bldg".split()
)
# Abbreviations before a number: "No. 5" continues the sentence, "No. I won't." does not.
BEFORE_NUMBER = frozenset(
    "no nos vol fig figs p pp ch sec art eq tab ref apt ext tel rm est op ver ca c max min rs".split()
) | {
    *SHORT_MONTHS,
    *SHORT_WEEKDAYS,
}
# Abbreviations after a number: the end of a sentence only if a capital letter follows.
AFTER_NUMBER = frozenset("ft in yd mi lb lbs oz kg km cm mm hr hrs min mins sec secs sq gal qt pt cu pct".split())
DATES = frozenset((*SHORT_MONTHS, *SHORT_WEEKDAYS))  # of BEFORE_NUMBER: other abbreviations may follow them too
# Words that begin a sentence: "in the U.S. He" is the end of one, "the U.S. Army" is not.
STARTERS = frozenset(_STARTERS)


def sentence_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut after . ! ? … and closing quotes and brackets, but not after abbreviations and initials; and at line ends."""
    return SentenceScanner(start).find(text, stop)


class SentenceScanner:
    """Finds the ends of sentences in a text that may still grow: each call goes on where the last one stopped."""

    def __init__(self, start: int = 0) -> None:
        self.position = start  # from which on the text is still to be searched
        self._begin = start  # of the sentence that is being searched
        self._is_lower: bool | None = None  # it begins in lower case; None: not known yet

    def find(self, text: str, stop: int, is_complete: bool = True) -> Iterator[int]:
        """Yield further ends. is_complete: no more text follows; otherwise this stops where it could decide."""
        certain = stop
        while not is_complete and certain > self.position and text[certain - 1] in END_CHARACTERS:
            certain -= 1  # what follows these characters decides
        for match in _SENTENCE_END.finditer(text, self.position, stop):
            if match.start() >= certain:
                break
            self.position, end = match.start(), match.end()
            if not self._begin < end < stop:
                continue
            continues = self._continues(text, match, stop, is_complete)
            if continues is None:
                return
            if not continues:
                self._begin, self._is_lower = end, None
                yield end
        self.position = certain

    def move(self, characters: int) -> None:
        """Take note that so many characters were removed from the front of the text."""
        self.position = max(self.position - characters, 0)
        self._begin -= characters  # of a sentence, it counts the space before it

    def _continues(self, text: str, match: re.Match[str], stop: int, is_complete: bool) -> bool | None:
        if self._is_lower is None:
            self._is_lower = _begins_in_lower_case(text, self._begin, match.start())
        return _continues(text, match, self._begin, self._is_lower, stop, is_complete)


def clause_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut after commas, semicolons, colons, dashes and closing brackets."""
    return (match.end() for match in _CLAUSE_END.finditer(text, start, stop) if match.end() < stop)


def word_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut at every space."""
    return (match.start() for match in _SPACE.finditer(text, start, stop) if match.start() > start)


def characters(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut between any two characters."""
    return iter(range(start + 1, stop))


def _continues(
    text: str, match: re.Match[str], begin: int, is_lower: bool, stop: int, is_complete: bool
) -> bool | None:
    """True if the sentence from `begin` continues after this match, which looks like its end; None: not known yet.

    is_lower: the sentence begins in lower case, as all sentences of some writers do.
    """
    mark, closers = match[1], match[2]
    if mark is None or text[match.end()] == "\n":
        return False  # a line's end and the full-width marks always end a sentence
    following = text[match.end() + 1]
    if closers or mark != ".":
        # '"Stop!" he said' and "well... perhaps" are one sentence each; "stop! and go" is two.
        return following.islower() and (bool(closers) or mark[-1] in ".…")
    word = _word_before(text, max(begin, 0), match.start())
    lower = word.lower()
    is_first = match.start() - begin <= len(word) + 2
    is_initial, is_dotted = _INITIAL.fullmatch(word) is not None, _DOTTED.fullmatch(word) is not None
    if is_first and _ITEM.fullmatch(word):
        return True
    if following.islower():
        is_short = word.isalpha() and len(word) <= _LONGEST_ABBREVIATION
        return is_initial or is_dotted or lower in _KNOWN or (is_short and not is_lower)
    if following in "([" and (lower in _KNOWN or lower in AFTER_NUMBER or is_initial or is_dotted):
        inner = text[match.end() + 2 : min(match.end() + 3, stop)]
        if inner.islower() or inner.isdigit():
            return True  # "Inc. (formerly", "et al. (2020)"
        if not inner and not is_complete:
            return None
    if word.isdigit():
        return False
    if lower in AFTER_NUMBER and _follows_number(text, match.start() - len(word)):
        return following.isdigit()
    if lower in BEFORE_NUMBER and not is_initial and (following.isdigit() or lower not in DATES):
        return following.isdigit()
    if not (lower in _KNOWN or is_initial or is_dotted):
        return False
    if lower in BEFORE_MORE and lower not in AFTER_NAME and lower != "st":
        return True
    return _continues_before(text, match.end() + 1, lower, stop, is_complete)


def _continues_before(text: str, at: int, lower: str, stop: int, is_complete: bool) -> bool | None:
    """True if a sentence continues with the word at this offset, after an abbreviation that may end one."""
    following = _NEXT_WORD.match(text, at, stop)
    assert following is not None
    if following.end() == stop and not is_complete:
        return None
    word = following[1]
    if word in STARTERS or word.capitalize() in STARTERS:
        return False
    if len(word) > 1 and word.isupper():
        return True
    if text[following.end() : following.end() + 1] == "." and word.lower() in _KNOWN:
        return True
    if lower in ("a.m", "p.m"):
        return word.lower() in AFTER_TIME
    return lower not in AFTER_NAME and lower not in DATES


_KNOWN = BEFORE_MORE | AFTER_NAME | BEFORE_NUMBER


def _begins_in_lower_case(text: str, begin: int, stop: int) -> bool:
    match = _FIRST_WORD.match(text, begin, stop)
    return match is not None and match[1].islower()


_FIRST_WORD = re.compile(r"[\s\"'(“‘\[]*(\w)")


def _follows_number(text: str, at: int) -> bool:
    return text[max(at - 2, 0) : at].strip()[-1:].isdigit()


def _word_before(text: str, begin: int, stop: int) -> str:
    """Return the word that ends at `stop`, without the quotes and brackets before it: "Mr" of "(Mr."."""
    word = text[max(text.rfind(" ", begin, stop) + 1, begin) : stop]
    first = next((offset for offset, character in enumerate(word) if character.isalnum()), len(word))
    return word[first:]
