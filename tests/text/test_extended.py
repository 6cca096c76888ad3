"""english_cleaners_extended: notations as people say them, whole and never glued to the words beside them."""

from __future__ import annotations

import re
import string
from pathlib import Path

import num2words
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacoglow.text.cleaners import english_cleaners, english_cleaners_extended

NEMO = (Path(__file__).parents[1] / "golden" / "nemo_english.txt").read_text(encoding="utf-8").splitlines()


# Kinds of notations, with the public reports that ask for them.
NOTATIONS = {
    "times and dates": [
        ("at 10:05 pm", "at ten oh five p m"),
        ("at 10:30", "at ten thirty"),
        ("at 9:00", "at nine o'clock"),
        ("at 14:00", "at fourteen hundred"),
        ("at 24:00", "at twenty-four hundred"),
        ("from 5 pm", "from five p m"),
        ("on 2026-11-25", "on november twenty-fifth, twenty twenty-six"),
        ("on 1/2/2003", "on january second, two thousand three"),
        ("on 25/12/1999", "on december twenty-fifth, nineteen ninety-nine"),
        ("on 25-12-1999", "on december twenty-fifth, nineteen ninety-nine"),
        ("on 12-25-1999", "on december twenty-fifth, nineteen ninety-nine"),
        ("on 3.10.1990", "on october third, nineteen ninety"),
        ("on Nov. 3", "on november third"),
        ("on Mon. Jan. 5, 2026", "on monday january fifth, twenty twenty-six"),
        ("5 May 2020", "the fifth of may twenty twenty"),
        ("25-Dec-2026", "the twenty-fifth of december twenty twenty-six"),
        ("May 1-3, 2024", "may first to third, twenty twenty-four"),
        ("March 3-5 pm, March 3–5 p.m. on", "march three to five p m, march three to five p m on"),
        ("from May 10 - 12 came", "from may tenth - twelve came"),
        ("Mon Jan 5", "monday january fifth"),
        ("Tue 5 Jan, Mon-Fri", "tuesday the fifth of january, monday to friday"),
        ("2024-05, 2009-10", "may twenty twenty-four, two thousand nine to ten"),
        ("at 14:30h, 9:00ET", "at fourteen thirty, nine o'clock e t"),
        ("T14:30, 10:30x", "t fourteen thirty, ten thirty x"),
    ],
    "units": [
        ("5 km", "five kilometers"),
        ("1 kg", "one kilogram"),
        ("100 m", "one hundred meters"),
        ("3 m, 7 h", "three meters, seven hours"),
        ("It is 5 V.", "it is five volts."),
        ("123 W. Main St.", "one hundred twenty-three w. main street."),
        ("50%", "fifty percent"),
        ("80 km/h", "eighty kilometers per hour"),
        ("2.5 GHz", "two point five gigahertz"),
        ("5 ft. 3 in. tall", "five feet three inches tall"),
        ("10^6", "ten to the power of six"),
        ("5 kΩ, 10 µF", "five kiloohms, ten microfarads"),
        ("3 tbsp, 5 g/cm³", "three tablespoons, five grams per cubic centimeter"),
    ],
    "addresses": [
        ("john.doe+x@mail-a.example.com.", "john dot doe plus x at mail dash a dot example dot com."),
        ("see https://www.example.org/a_b.", "see www dot example dot org slash a underscore b."),
        ("bit.ly/3abc, EXAMPLE.COM", "bit dot ly slash three abc, example dot com"),
        ("photo.JPG, setup.sh", "photo dot jpg, setup dot sh"),
    ],
    "HeadTTS#2, lingua-franca#76: zeros after the point": [
        ("0.05%", "zero point zero five percent"),
        ("3.05 km", "three point zero five kilometers"),
        ("1.001", "one point zero zero one"),
        ("10.00", "ten point zero zero"),
        ("$0.05", "five cents"),
        ("-0.05", "minus zero point zero five"),
    ],
    "hass-edge-tts#76: decimal commas": [
        ("22,1 °C", "twenty-two point one degrees celsius"),
        ("3,5 kg", "three point five kilograms"),
        ("1,75 m", "one point seven five meters"),
        ("100,5%", "one hundred point five percent"),
        ("€1.234,56", "one thousand two hundred thirty-four euros fifty-six"),
        ("12,50 €", "twelve euros fifty"),
        ("1 234,56 €", "one thousand two hundred thirty-four euros fifty-six"),
    ],
    "Kokoro-FastAPI#259: commas that group, and years": [
        ("1,234", "one thousand two hundred thirty-four"),
        ("2,024 files", "two thousand twenty-four files"),
        ("1,900 people in 1900", "one thousand nine hundred people in nineteen hundred"),
        ("in 2024", "in twenty twenty-four"),
        ("1,234,567.89", "one million two hundred thirty-four thousand five hundred sixty-seven point eight nine"),
        ("1,2,3", "one, two, three"),
        ("1.000.000 people", "one million people"),
        ("-1.234.567", "minus one million two hundred thirty-four thousand five hundred sixty-seven"),
        ("€1.000.000", "one million euros"),
        ("version 1.2.3", "version one point two point three"),
        ("version 1.100.2000", "version one point one hundred point two thousand"),
        ("1 000 000 people", "one million people"),
        ("10 000 km, 1 500 €", "ten thousand kilometers, one thousand five hundred euros"),
        ("CHF 1'250.50", "one thousand two hundred fifty swiss francs fifty"),
        ("in 2024 300 people", "in twenty twenty-four three hundred people"),
        ("2019/20", "twenty nineteen slash twenty"),
    ],
    "exponents, leading zeros and hexadecimal digits": [
        ("10⁻³", "ten to the power of minus three"),
        ("10⁶", "ten to the power of six"),
        ("6×10²³", "six times ten to the power of twenty-three"),
        ("5² is 25", "five squared is twenty-five"),
        ("agent 007.5", "agent zero zero seven point five"),
        ("0x1F", "zero x one f"),
        ("3x4", "three by four"),
    ],
    "Kokoro-FastAPI#303, #256: magnitudes": [
        ("$2.5 million", "two point five million dollars"),
        ("$3.2M", "three point two million dollars"),
        ("$10k", "ten thousand dollars"),
        ("€2bn", "two billion euros"),
        ("10k followers", "ten thousand followers"),
        ("$100K/year", "one hundred thousand dollars per year"),
        ("₹5 crore", "five crore rupees"),
        ("$3 m", "three million dollars"),
        ("400K, 2.5K, a 10K run", "four hundred thousand, two point five thousand, a ten k run"),
        ("24K gold, i7-9700K", "twenty-four k gold, i seven-nine thousand seven hundred k"),
        ("a 401k or 401(k)", "a four oh one k or four oh one k"),
        ("$1.2B-$1.5B", "one point two billion dollars to one point five billion dollars"),
        ("£5m – £7m", "five million pounds to seven million pounds"),
        ("10k-20k users", "ten thousand to twenty thousand users"),
        ("$3 million-$4 million", "three million dollars to four million dollars"),
        ("1h 30m, 1h30min, 5m 30s.", "one hour thirty minutes, one hour thirty minutes, five minutes thirty seconds."),
        (
            "5 min 30 s, 1 h 30 min, 100m 9s",
            "five minutes thirty seconds, one hour thirty minutes, one hundred minutes nine seconds",
        ),
        ("5 h 2 m tall, 5 m 2 s", "five h two meters tall, five m two s"),
        ("30 m, 5 m, 3 h", "thirty meters, five meters, three hours"),
        ("1:23:45", "one hour twenty-three minutes and forty-five seconds"),
    ],
    "OHF-Voice/intents#1683: signs": [
        ("-5 °C", "minus five degrees celsius"),
        ("-3%", "minus three percent"),
        ("−7", "minus seven"),
        ("–7 degrees", "minus seven degrees"),
        ("-3°C", "minus three degrees celsius"),
        ("-$5", "minus five dollars"),
        ("+5", "plus five"),
        ("±2", "plus or minus two"),
        ("3-5 days", "three to five days"),
        ("COVID-19", "covid-nineteen"),
        ("-1/2, -½ cup, 5-1/2", "minus one half, minus one half cup, five and a half"),
        (">50%, <5 min", "more than fifty percent, less than five minutes"),
        ("x >= 5, y <= $3, a != b", "x at least five, y at most three dollars, a is not equal to b"),
        ("(2 + 3) * 4", "(two plus three) times four"),
    ],
    "pelle/slugger#2: currencies": [
        ("£3.20", "three pounds twenty"),
        ("€5", "five euros"),
        ("5 €", "five euros"),
        ("5€", "five euros"),
        ("£0.50", "fifty pence"),
        ("¥500", "five hundred yen"),
        ("₩1000", "one thousand won"),
        ("5 USD", "five u s dollars"),
        ("CHF 5", "five swiss francs"),
        ("CA$5, NZ$5", "five canadian dollars, five new zealand dollars"),
        ("US$5.50", "five u s dollars, fifty cents"),
        ("₪20, ₱50, ฿100", "twenty shekels, fifty pesos, one hundred baht"),
        ("Rs. 500, 5 zł, 6 Rs. Then", "five hundred rupees, five zlotys, six rupees. then"),
    ],
    "subwave#963: degrees, compatibility characters and &": [
        ("20°", "twenty degrees"),
        ("20℃", "twenty degrees celsius"),
        ("68℉", "sixty-eight degrees fahrenheit"),
        ("20 ° C", "twenty degrees celsius"),
        ("½ cup", "one half cup"),
        ("２０ ㎏", "twenty kilograms"),
        ("№ 5", "number five"),
        ("5‰ of it", "five per mille of it"),
        ("AT&T", "at and t"),
        ("rock & roll", "rock and roll"),
    ],
    "pocket-tts#76: fractions, and words that were glued": [
        ("1/2 cup", "one half cup"),
        ("2½ cups", "two and a half cups"),
        ("1 3/4 inches", "one and three quarters inches"),
        ("50/50", "fifty fifty"),
        ("1/1000", "one one thousandth"),
        ("2½kg, ¾lb, 1/2tsp", "two and a half kilograms, three quarters pound, one half teaspoon"),
        ("2/3rds", "two thirds"),
        ("and/or", "and or"),
        ("5+3=8", "five plus three equals eight"),
        ("a@b, @name", "a at b, at name"),
        ("3D, B2B and 4K", "three d, b two b and four k"),
        ("Hi😀there", "hi there"),
    ],
    "KittenTTS#115: the full stop of the sentence": [
        ("It starts at 7 p.m. Bring a coat.", "it starts at seven p m. bring a coat."),
        ("at 5 PM. Then", "at five p m. then"),
        ("at 9:00 A.M.", "at nine a m."),
        ("at 5 p.m. EST, and", "at five p m e s t, and"),
        ("We meet at 5 p.m. and leave.", "we meet at five p m and leave."),
        ("See you on Fri. Bring it.", "see you on friday. bring it."),
        ("under the Sun. It", "under the sun. it"),
        ("at Acme Inc. He left.", "at acme incorporated. he left."),
    ],
    "KittenTTS#134: ISO dates, addresses, versions, and units by their context": [
        ("2026-11-25T14:30:00Z", "november twenty-fifth, twenty twenty-six, fourteen thirty u t c"),
        ("2026-11-25T14:30:00+02:00", "november twenty-fifth, twenty twenty-six, fourteen thirty u t c plus two"),
        ("2026-1-5", "january fifth, twenty twenty-six"),
        ("at https://example.com/² now", "at example dot com slash squared now"),
        ("https://example.com/a?b=1", "example dot com slash a question mark b equals one"),
        ("3.11.7", "three point eleven point seven"),
        ("v2.0.1", "version two point zero point one"),
        ("v1.2, V2.10.", "version one point two, version two point ten."),
        ("2026-11-25T9:30", "november twenty-fifth, twenty twenty-six, nine thirty"),
        ("2026-11-25 14:30 UTC", "november twenty-fifth, twenty twenty-six, fourteen thirty u t c"),
        ("2026-11-25 02:30 PM", "november twenty-fifth, twenty twenty-six two thirty p m"),
        ("192.168.0.1", "one nine two dot one six eight dot zero dot one"),
        ("Windows 10 MS Office", "windows ten ms office"),
    ],
    "pipecat#5212, Kokoro-FastAPI#179: leading zeros": [
        ("Flight 007", "flight zero zero seven"),
        ("zip 02134", "zip zero two one three four"),
        ("PIN 0042", "pin zero zero four two"),
        ("0800 123456", "zero eight zero zero, one two three four five six"),
        ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
        ("555 123 4567", "five five five, one two three, four five six seven"),
    ],
}


@pytest.mark.parametrize(
    ("written", "spoken"),
    [pytest.param(*pair, id=f"{kind}: {pair[0]}") for kind, pairs in NOTATIONS.items() for pair in pairs],
)
def test_notation_is_spoken(written: str, spoken: str) -> None:
    assert english_cleaners_extended(written) == spoken


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith paid $5.20 for 3 things in May.",
        "5 in a row, 7 s",
        "score 10:60, 25:30, 1:2:3",
        "on 2026-13-45",
        "marching, december",
        "I am here. The minister said 5 minutes.",
    ],
)
def test_other_text_is_as_with_english_cleaners(text: str) -> None:
    assert english_cleaners_extended(text) == english_cleaners(text)


def words(spoken: str) -> list[str]:
    """Words alone: NeMo writes no commas or hyphens, says "and" in numbers at times, and joins "a m"."""
    spoken = re.sub(r"[^a-z0-9' ]", " ", spoken.lower().replace("'", ""))
    return [word for word in re.sub(r"\b([ap]) m\b", r"\1m", spoken).split() if word != "and"]


@pytest.mark.parametrize("case", NEMO)
def test_cases_of_nemo_text_processing(case: str) -> None:
    written, spoken = case.split("~", 1)
    assert words(english_cleaners_extended(written)) == words(spoken)


@given(st.integers(0, 10**15 - 1))
def test_whole_numbers_are_those_of_num2words(number: int) -> None:
    assert words(english_cleaners_extended(f"{number:,}")) == words(num2words.num2words(number))


@given(st.integers(1, 10**9))
def test_ordinals_are_those_of_num2words(number: int) -> None:
    written = num2words.num2words(number, to="ordinal_num")
    assert words(english_cleaners_extended(written)) == words(num2words.num2words(number, to="ordinal"))


@given(st.integers(0, 10**6), st.text("0123456789", min_size=1, max_size=8))
def test_decimals_are_read_digit_by_digit(whole: int, fraction: str) -> None:
    spoken = num2words.num2words(whole) + " point " + " ".join(map(num2words.num2words, map(int, fraction)))
    assert words(english_cleaners_extended(f"{whole:,}.{fraction} kg"))[:-1] == words(spoken)


PRINTABLE = st.text(st.characters(exclude_categories=["C"]), max_size=3)


@given(st.lists(st.sampled_from("5 1,5 $3 € % / & + = _ a b p.m. St. ½ ° - – 7th #".split()) | PRINTABLE))
def test_only_letters_and_punctuation_are_left(parts: list[str]) -> None:
    spoken = english_cleaners_extended("".join(parts))
    assert set(spoken) <= set(string.ascii_lowercase + " .,;:!?'\"-()${}")


@given(st.sampled_from(["/", "&", "_", "|", "*", "+", "=", "<", ">", "😀", "→", "@"]))
def test_symbols_between_words_never_join_them(symbol: str) -> None:
    spoken = english_cleaners_extended(f"here{symbol}there").split()
    assert spoken[0] == "here"
    assert spoken[-1] == "there"
