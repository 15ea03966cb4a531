"""The language of a text, by its words. No model, nothing to load: two languages and a third's script are told
apart."""

import re
import unicodedata

_TONES = str.maketrans("", "", "\u0300\u0301\u0303\u0309\u0323")
_ONSETS = "ngh|ng|gh|gi|kh|nh|ph|th|tr|ch|qu|[bcdđghklmnprstvx]"
_RIMES = (
    "iêu|yêu|ươu|ươi|uôi|oai|oay|oeo|uây|uyê|uya|uyu|uêu|oao|iê|yê|ươ|uô|uơ|ưa|ia|ya|ua|ai|ao|au|ay|âu|ây|eo|êu|iu|oi|ôi|ơi|ui"
    "|ưi|ưu|oa|oă|oe|uâ|uê|uy|oo|[aăâeêioôơuưy]"
)
_SYLLABLE = re.compile(rf"^(?:{_ONSETS})?(?:{_RIMES})(?:ch|ng|nh|[cmnpt])?$")
_VIETNAMESE_LETTER = re.compile("[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉĩịọỏốồổỗộớờởỡợụủũứừửữựỳỵỷỹ]", re.IGNORECASE)
_WORD = re.compile(r"(?<!\w)[^\W\d_]+(?:['’][^\W\d_]+)*(?!\w)")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u30ff]")
_NO_WORD = re.compile("[A-Zb-df-hj-np-tv-xz]{1,4}")
"""Initials and units."""
_PLAIN_VIETNAMESE = set(
    "anh em toi la cua va khong co cho nay thi nhung mot hai ba nam con ra den di ve lam duoc nguoi trong khi xin "
    "chao ban rat nha tôi là của và không có này thì một con cho trong khi xin chào ông bà cô hôm nay cháu mình chúng "
    "ta".split()
)
_ENGLISH = set(
    "the a an and or but of to in on at for with from by is are was were be been it its this that these those he she "
    "they we you i my your his her their our not no yes do does did have has had will would can could should what when "
    "where who why how all any some there here then than so if as up out about into over after before just like more "
    "very good day new now only also one two three first hello please thank thanks me him us them".split()
)


def is_syllable(word: str) -> bool:
    """Whether Vietnamese could spell a syllable so: `yêu`, `Nghiêng`, `the`; not `Đoković`."""
    bare = unicodedata.normalize("NFD", word.lower()).translate(_TONES)
    return bool(_SYLLABLE.match(unicodedata.normalize("NFC", bare)))


def language_of(text: str, otherwise: str = "en-us", chinese: bool = False) -> str:
    """`vi` or `en-us` by the share of words; `otherwise` where they do not say. Where `chinese` is spoken, `zh` by its
    share of letters."""
    if chinese and _is_chinese(text):
        return "zh"
    vietnamese = english = neutral = 0.0
    for word in _WORD.findall(unicodedata.normalize("NFC", text)):
        lower = word.lower()
        if _VIETNAMESE_LETTER.search(word) and (is_syllable(word) or word.isupper()):
            vietnamese += 1
        elif not word.isascii() and is_syllable(word):
            vietnamese += 0.7
        elif lower in _PLAIN_VIETNAMESE and lower not in _ENGLISH:
            vietnamese += 0.3 if word.isascii() else 1
        elif lower in _ENGLISH:
            english += 1
        elif _NO_WORD.fullmatch(word):
            continue
        elif not is_syllable(word):
            english += 0.5 if word.isascii() else 0.25
        else:
            neutral += 1
    if vietnamese > max(english, 0.6) or (vietnamese >= 1 and vietnamese >= 0.6 * english):
        return "vi"
    if english > 1 and english > 2 * vietnamese:
        return "en-us"
    return otherwise


def _is_chinese(text: str) -> bool:
    """Mostly: kana make it Japanese, and a name in its own letters leaves an English sentence English."""
    han = len(_HAN.findall(text))
    return han > 0 and not _KANA.search(text) and han >= len(_WORD.findall(_HAN.sub(" ", text)))
