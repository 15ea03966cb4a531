"""Tables of English units and money. What the rules in english_amounts.py look up."""

from speech.reading.rules import table

UNITS = table("""
km: kilometer
m: meter
cm: centimeter
mm: millimeter
µm μm um: micrometer
nm: nanometer
mi: mile
ft: foot
yd yds: yard
in: inch
km2 km²: square kilometer
m2 m² sqm: square meter
cm2 cm²: square centimeter
mm2 mm²: square millimeter
ft2 ft² sqft: square foot
in2 in²: square inch
mi2 mi²: square mile
km3 km³: cubic kilometer
m3 m³: cubic meter
cm3 cm³ cc: cubic centimeter
ft3 ft³: cubic foot
yd2 yd²: square yard
in3 in³: cubic inch
yd3 yd³: cubic yard
ha: hectare
ac: acre
kg kgs: kilogram
g: gram
mg: milligram
µg μg mcg: microgram
lb lbs: pound
oz: ounce
t: ton
l L: liter
ml mL: milliliter
cl cL: centiliter
dl dL: deciliter
gal: gallon
qt: quart
tbsp: tablespoon
tsp: teaspoon
s sec secs: second
ms: millisecond
µs μs: microsecond
ns: nanosecond
min mins: minute
h hr hrs: hour
wk wks: week
mo mos: month
yr yrs: year
Hz: hertz
kHz: kilohertz
MHz: megahertz
GHz: gigahertz
W: watt
kW: kilowatt
MW: megawatt
GW: gigawatt
Wh: watt hour
kWh: kilowatt hour
MWh: megawatt hour
mAh: milliamp hour
V: volt
kV: kilovolt
mV: millivolt
mA: milliamp
Ω: ohm
kΩ: kiloohm
J: joule
kJ: kilojoule
MJ: megajoule
cal: calorie
kcal: kilocalorie
N: newton
Pa: pascal
hPa: hectopascal
kPa: kilopascal
MPa: megapascal
dB: decibel
kB KB kb: kilobyte
MB: megabyte
GB: gigabyte
TB: terabyte
PB: petabyte
KiB: kibibyte
MiB: mebibyte
GiB: gibibyte
px: pixel
MP: megapixel
lm: lumen
mol: mole
hp: horsepower
ct: carat
""")
RATES = table("""
km/h kmh kph kmph: kilometers per hour
mph: miles per hour
fps: frames per second
rpm: revolutions per minute
bpm: beats per minute
mpg: miles per gallon
kbps: kilobits per second
Mbps mbps: megabits per second
Gbps gbps: gigabits per second
dpi: dots per inch
ppi: pixels per inch
ppm: parts per million
psi: pounds per square inch
pH: p H
""")
PER = {"h": "hour", "hr": "hour", "s": "second", "sec": "second", "min": "minute", "d": "day", "mo": "month"}
UNCHANGED_PLURALS = {
    "hertz",
    "horsepower",
    "kilohertz",
    "megahertz",
    "gigahertz",
    "yen",
    "yuan",
    "won",
    "pence",
    "baht",
}
MONEY = {
    "$": ("dollar", "cent"),
    "US$": ("U S dollar", "cent"),
    "C$": ("Canadian dollar", "cent"),
    "CA$": ("Canadian dollar", "cent"),
    "A$": ("Australian dollar", "cent"),
    "AU$": ("Australian dollar", "cent"),
    "NZ$": ("New Zealand dollar", "cent"),
    "HK$": ("Hong Kong dollar", "cent"),
    "S$": ("Singapore dollar", "cent"),
    "£": ("pound", "pence"),
    "€": ("euro", "cent"),
    "¥": ("yen", ""),
    "₹": ("rupee", "paisa"),
    "₩": ("won", ""),
    "₽": ("ruble", "kopeck"),
    "₫": ("dong", ""),
    "₺": ("lira", ""),
    "₴": ("hryvnia", ""),
    "₪": ("shekel", ""),
    "₱": ("peso", "centavo"),
    "฿": ("baht", ""),
    "₿": ("bitcoin", ""),
}
CURRENCY_CODES = {
    "USD": ("U S dollar", "cent"),
    "EUR": ("euro", "cent"),
    "GBP": ("pound", "pence"),
    "JPY": ("yen", ""),
    "CNY": ("yuan", ""),
    "RMB": ("yuan", ""),
    "CAD": ("Canadian dollar", "cent"),
    "AUD": ("Australian dollar", "cent"),
    "CHF": ("Swiss franc", ""),
    "INR": ("rupee", ""),
    "VND": ("Vietnamese dong", ""),
    "KRW": ("won", ""),
    "BTC": ("bitcoin", ""),
}
SCALES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "mm": "million",
    "mil": "million",
    "b": "billion",
    "B": "billion",
    "bn": "billion",
    "t": "trillion",
    "T": "trillion",
    "tn": "trillion",
    **{w: w for w in "hundred thousand million billion trillion".split()},
}
