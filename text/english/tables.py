"""Words of English notations: months, units, currencies, symbols, abbreviations; data that other languages read too."""

from __future__ import annotations

MONTHS = tuple("january february march april may june july august september october november december".split())
WEEKDAYS = tuple("monday tuesday wednesday thursday friday saturday sunday".split())
SHORT_MONTHS = {short: month for month in MONTHS for short in (month[:3],)} | {"sept": "september"}
SHORT_WEEKDAYS = {day[:3]: day for day in WEEKDAYS} | {"tues": "tuesday", "thur": "thursday", "thurs": "thursday"}
# Spelled after a time, as in "5 p.m. EST".
TIME_ZONES = frozenset("utc gmt est edt et cst cdt ct mst mdt mt pst pdt pt bst cet cest eet eest ist jst aest".split())
# Capitalized words after "p.m." that belong to the time.
AFTER_TIME = frozenset((*MONTHS, *WEEKDAYS, *TIME_ZONES, *"eastern central mountain pacific".split()))

# Words that begin a sentence after an abbreviation, as in "He works at Acme Inc. She does too."
STARTERS = (
    "I He She It They We You The A An This That These Those There Here His Her Its Their Our My Your Then Now When "
    "While If Although Because Since After Before As In On At By For From With But And Or So Yet However Meanwhile "
    "Moreover Therefore Thus Finally Also What Who Where Why How Which Is Are Was Were Do Does Did Can Could Will "
    "Would Should Please Yes No Not Never Some Many Most All One Two Nobody Everybody Nothing Everything "
    "Let Don't It's I'm He's She's"
).split()

# Kept as they are by the transliteration before the rules, which then see ASCII and these alone.
KEPT = "°£€¥₹₩₽₺₴₪₱฿₫₦₿¢±×÷²³µμΩ½¼¾⅓⅔⅛⅜⅝⅞–−"
# Replaced before the transliteration, which has no word for them, or another one.
BEFORE = {
    "℃": "°C",
    "℉": "°F",
    "º": "°",
    "№": " number ",
    "™": "",
    "®": "",
    "℠": "",
    "©": " copyright ",
    "§": " section ",
    "‰": " per mille ",
    "≥": " at least ",
    "≤": " at most ",
    "≈": " about ",
    "≠": " is not equal to ",
    "∞": " infinity ",
    "√": " square root of ",
    "π": " pi ",
    "→": " to ",
    "•": " ",
    "·": " ",
    "\u2044": "/",
    "\u2010": "-",
    "\u2011": "-",
    "\u2012": "–",
    "\u2015": "—",
    "\u00ad": "",
    "￥": "¥",
    "￡": "£",
    "￦": "₩",
    "￠": "¢",
}
VULGAR = {
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}
# Signs of an exponent, as in 10⁻³; a lone ² or ³ is said by its name.
SUPERSCRIPTS = {"⁻": "-", "⁺": "", **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))}
# What is left of symbols when all notations have been read: words, or a space, so that two words are never joined.
AFTER = {
    "&": " and ",
    "%": " percent ",
    "+": " plus ",
    "=": " equals ",
    "@": " at ",
    "°": " degrees ",
    "£": " pounds ",
    "€": " euros ",
    "¥": " yen ",
    "₹": " rupees ",
    "₩": " won ",
    "₽": " rubles ",
    "₺": " liras ",
    "₴": " hryvnias ",
    "₪": " shekels ",
    "₱": " pesos ",
    "฿": " baht ",
    "₫": " dong ",
    "₦": " naira ",
    "₿": " bitcoins ",
    "¢": " cents ",
    "±": " plus or minus ",
    "×": " times ",
    "÷": " divided by ",
    "²": " squared ",
    "³": " cubed ",
    "µ": " micro ",
    "μ": " micro ",
    "Ω": " ohms ",
    "–": "-",
    "−": "-",
    **dict.fromkeys("/\\|_*^~<>[]#`", " "),
}

# A sign in an address -> how it is said.
ADDRESS_SIGNS = {
    ".": "dot",
    "@": "at",
    "-": "dash",
    "_": "underscore",
    "+": "plus",
    "/": "slash",
    ":": "colon",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "~": "tilde",
    "!": "exclamation mark",
    ",": "comma",
    ";": "semicolon",
    "$": "dollar",
    "*": "star",
}
# Ends of a name that is an address without "www." or "https://".
DOMAINS = (
    "com org net edu gov io ai dev app info biz co uk de fr nl eu ca au jp ch se fi dk pl tv xyz shop online".split()
)
FILE_ENDINGS = (
    "txt pdf csv json xml html htm jpg jpeg png gif svg mp3 mp4 wav flac zip tar gz exe py cpp js md yaml yml toml ini "
    "docx xlsx pptx doc xls sh css sql log cfg onnx bin mov avi mkv webp"
).split()

# Symbol or code -> (name of one, of several, of a hundredth, of several hundredths); "": it has no hundredths.
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "liras", "kurus", "kurus"),
    "₴": ("hryvnia", "hryvnias", "kopiyka", "kopiykas"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "฿": ("baht", "baht", "", ""),
    "₫": ("dong", "dong", "", ""),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "₿": ("bitcoin", "bitcoins", "", ""),
    "US$": ("u s dollar", "u s dollars", "cent", "cents"),
    "C$": ("canadian dollar", "canadian dollars", "cent", "cents"),
    "CA$": ("canadian dollar", "canadian dollars", "cent", "cents"),
    "A$": ("australian dollar", "australian dollars", "cent", "cents"),
    "AU$": ("australian dollar", "australian dollars", "cent", "cents"),
    "NZ$": ("new zealand dollar", "new zealand dollars", "cent", "cents"),
    "HK$": ("hong kong dollar", "hong kong dollars", "cent", "cents"),
    "R$": ("real", "reais", "centavo", "centavos"),
    "Rs": ("rupee", "rupees", "paisa", "paise"),
    "zl": ("zloty", "zlotys", "grosz", "groszy"),
    "USD": ("u s dollar", "u s dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "JPY": ("yen", "yen", "", ""),
    "CNY": ("yuan", "yuan", "", ""),
    "INR": ("rupee", "rupees", "paisa", "paise"),
    "CHF": ("swiss franc", "swiss francs", "centime", "centimes"),
    "CAD": ("canadian dollar", "canadian dollars", "cent", "cents"),
    "AUD": ("australian dollar", "australian dollars", "cent", "cents"),
    "NZD": ("new zealand dollar", "new zealand dollars", "cent", "cents"),
    "HKD": ("hong kong dollar", "hong kong dollars", "cent", "cents"),
    "PLN": ("zloty", "zlotys", "grosz", "groszy"),
    "SEK": ("swedish krona", "swedish kronor", "", ""),
    "NOK": ("norwegian krone", "norwegian kroner", "", ""),
    "DKK": ("danish krone", "danish kroner", "", ""),
    "MXN": ("mexican peso", "mexican pesos", "centavo", "centavos"),
    "KRW": ("won", "won", "", ""),
}
CENTS_SIGN = ("cent", "cents")
SCALES = {
    "k": "thousand",
    "K": "thousand",
    "M": "million",
    "m": "million",
    "mn": "million",
    "MM": "million",
    "B": "billion",
    "b": "billion",
    "bn": "billion",
    "T": "trillion",
    "tn": "trillion",
    "thousand": "thousand",
    "million": "million",
    "billion": "billion",
    "trillion": "trillion",
    "lakh": "lakh",
    "crore": "crore",
}

# Spelling -> (name of one, of several). Spellings are exact: "MS" and "Min" are something else. Letters that are as
# likely something else ("in", "s", "A") are left alone.
_UNITS = {
    "percent": ("percent", "%"),
    "degree celsius": ("degrees celsius", "°C °c"),
    "degree fahrenheit": ("degrees fahrenheit", "°F °f"),
    "degree": ("degrees", "°"),
    "meter": ("meters", "m"),
    "kilometer": ("kilometers", "km KM Km"),
    "centimeter": ("centimeters", "cm"),
    "millimeter": ("millimeters", "mm"),
    "micrometer": ("micrometers", "µm μm um"),
    "nanometer": ("nanometers", "nm"),
    "mile": ("miles", "mi"),
    "foot": ("feet", "ft"),
    "yard": ("yards", "yd yds"),
    "square kilometer": ("square kilometers", "km² km2 km^2"),
    "square meter": ("square meters", "m² m2 m^2"),
    "square centimeter": ("square centimeters", "cm² cm2 cm^2"),
    "cubic kilometer": ("cubic kilometers", "km³ km3 km^3"),
    "cubic meter": ("cubic meters", "m³ m3 m^3"),
    "cubic centimeter": ("cubic centimeters", "cm³ cm3 cm^3 cc"),
    "square foot": ("square feet", "ft² ft2 ft^2"),
    "kilogram": ("kilograms", "kg KG Kg"),
    "gram": ("grams", "g"),
    "milligram": ("milligrams", "mg"),
    "microgram": ("micrograms", "µg μg mcg"),
    "pound": ("pounds", "lb lbs"),
    "ounce": ("ounces", "oz"),
    "liter": ("liters", "l L"),
    "milliliter": ("milliliters", "ml mL"),
    "gallon": ("gallons", "gal"),
    "tablespoon": ("tablespoons", "tbsp"),
    "teaspoon": ("teaspoons", "tsp"),
    "hour": ("hours", "h hr hrs"),
    "minute": ("minutes", "min mins"),
    "second": ("seconds", "sec secs"),
    "millisecond": ("milliseconds", "ms"),
    "microsecond": ("microseconds", "µs μs"),
    "nanosecond": ("nanoseconds", "ns"),
    "meter per second": ("meters per second", "m/s"),
    "meter per second squared": ("meters per second squared", "m/s² m/s2 m/s^2"),
    "hertz": ("hertz", "Hz hz"),
    "kilohertz": ("kilohertz", "kHz khz KHz"),
    "megahertz": ("megahertz", "MHz mhz Mhz"),
    "gigahertz": ("gigahertz", "GHz ghz Ghz"),
    "watt": ("watts", "W"),
    "milliwatt": ("milliwatts", "mW"),
    "kilowatt": ("kilowatts", "kW kw KW"),
    "megawatt": ("megawatts", "MW"),
    "gigawatt": ("gigawatts", "GW"),
    "watt hour": ("watt hours", "Wh"),
    "kilowatt hour": ("kilowatt hours", "kWh kwh KWh KWH"),
    "volt": ("volts", "V"),
    "kilovolt": ("kilovolts", "kV"),
    "millivolt": ("millivolts", "mV"),
    "milliampere": ("milliamperes", "mA"),
    "milliampere hour": ("milliampere hours", "mAh"),
    "ohm": ("ohms", "Ω"),
    "kiloohm": ("kiloohms", "kΩ"),
    "megaohm": ("megaohms", "MΩ"),
    "microfarad": ("microfarads", "µF μF uF"),
    "kilobyte": ("kilobytes", "kB KB kb"),
    "megabyte": ("megabytes", "MB mb"),
    "gigabyte": ("gigabytes", "GB gb"),
    "terabyte": ("terabytes", "TB tb"),
    "kilobit per second": ("kilobits per second", "kbps Kbps kbit/s"),
    "megabit per second": ("megabits per second", "Mbps mbps Mbit/s"),
    "gigabit per second": ("gigabits per second", "Gbps gbps Gbit/s"),
    "decibel": ("decibels", "dB"),
    "calorie": ("calories", "cal"),
    "kilocalorie": ("kilocalories", "kcal"),
    "kilojoule": ("kilojoules", "kJ"),
    "hectopascal": ("hectopascals", "hPa"),
    "kilopascal": ("kilopascals", "kPa"),
    "mile per hour": ("miles per hour", "mph MPH"),
    "kilometer per hour": ("kilometers per hour", "kph"),
    "beat per minute": ("beats per minute", "bpm BPM"),
    "revolution per minute": ("revolutions per minute", "rpm RPM"),
    "frame per second": ("frames per second", "fps FPS"),
    "part per million": ("parts per million", "ppm"),
    "pixel": ("pixels", "px"),
}
UNITS = {spelling: (one, many) for one, (many, spellings) in _UNITS.items() for spelling in spellings.split()}
# After a slash: "km/h", "m/s", "g/l".
PER = {spelling: one for spelling, (one, _) in UNITS.items() if spelling.isalpha() and " per " not in one} | {
    "s": "second",
    **{name: name for name in "hour minute second day week month year night person".split()},
    "d": "day",
    "wk": "week",
    "mo": "month",
    "yr": "year",
    "hr": "hour",
    "m³": "cubic meter",
    "m3": "cubic meter",
    "m²": "square meter",
    "m2": "square meter",
    "cm³": "cubic centimeter",
    "cm3": "cubic centimeter",
}

# Denominators that are read as parts of a whole: (one, several).
DENOMINATORS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
DENOMINATORS_READ = frozenset((*range(2, 11), 12, 16, 20, 32, 64, 100, 1000))
NOT_FRACTIONS = {
    (9, 11): "nine eleven",
    (24, 7): "twenty-four seven",
    (50, 50): "fifty fifty",
    (20, 20): "twenty twenty",
    (10, 10): "ten out of ten",
}

# Abbreviations besides those of english_cleaners -> (spoken, may end a sentence, which then keeps its full stop).
ABBREVIATIONS = {
    "approx": ("approximately", False),
    "vs": ("versus", False),
    "e.g": ("for example", False),
    "i.e": ("that is", False),
    "prof": ("professor", False),
    "gov": ("governor", False),
    "sen": ("senator", False),
    "fig": ("figure", False),
    "vol": ("volume", False),
    "dept": ("department", False),
    "ca": ("circa", False),
    "cf": ("compare", False),
    "mt": ("mount", False),
    "a.k.a": ("also known as", False),
    "et al": ("et al", True),
    "etc": ("et cetera", True),
    "inc": ("incorporated", True),
    "corp": ("corporation", True),
    "co": ("company", True),
    "ltd": ("limited", True),
    "jr": ("junior", True),
    "sr": ("senior", True),
    "esq": ("esquire", True),
    "ave": ("avenue", True),
    "blvd": ("boulevard", True),
    "rd": ("road", True),
}
WORDS = {
    "w/o": "without",
    "w/": "with ",
    "C#": "C sharp",
    "c/o": "care of",
    "401k": "four oh one k",
    "401K": "four oh one k",
    "401(k)": "four oh one k",
}
