"""English as people write it to each other: questions, exclamations, lists, names, short answers, numbers in figures.

Try: python -m train.everyday 20"""

import random
import sys

NAMES = """Anna|James Wilson|Maria Lopez|Tom|Doctor Patel|Emily Clark|Henry|Sophie Martin|Mr. Baker|Mrs. O'Neill|Kevin
Laura Kim|Ahmed|Nguyen
Robert Hughes|Olivia|Ben Carter|Grace|Professor Stone|Lily Evans|Jack|Priya|Samuel Green|Charlotte|Miss Young
Daniel Weber|Zoe|Uncle George""".replace("\n", "|").split("|")
PLACES = """London|New York|the airport|Paris|Berlin|our hotel|Chicago|the office|Hanoi|Tokyo|the clinic|Sydney
Oxford Street|the harbor
San Francisco|the library|Vienna|platform nine|the front desk|Rome|gate B 12|Cairo|the post office|Madrid""".replace(
    "\n", "|"
).split("|")
GOODS = """apples|fresh bread|two tickets|a phone charger|green tea|batteries|rice|a blue shirt|cheese|onions
paper towels|orange juice|a map
sunscreen|soap|eggs|butter|warm socks|an umbrella|strawberries|coffee beans|a notebook|garlic|milk""".replace(
    "\n", "|"
).split("|")
SHORT = """Yes.|No.|Sure.|Of course.|Not yet.|Maybe later.|Thank you.|Thanks a lot!|Good morning.|Good night.
See you soon.|I don't know.|That's right.
Exactly!|Never mind.|You're welcome.|Excuse me.|I'm sorry.|Let's go!|Wait a minute.|Here you are.|No problem.|Really?
Why not?|What's that?
Hello.|Hi there!|Goodbye.|Well done!|Absolutely not.|I think so.|I hope so.|It depends.|Fine, thanks.|Oh, okay.
Right now?|How come?|Watch out!
Not at all.|Just a moment, please.|Nice to meet you.|Me too.|Who, me?|Great idea!|Be careful.|Come in.|Have a seat.
Good luck!""".replace("\n", "|").split("|")
ASK = """Could you tell me where {place} is?|What time does the train to {place} leave?|Is {name} coming with us?
How far is it to {place}?
Would you like {good} or {good2}?|Why didn't {name} call back?|Who told you about {place}?
Do you know when {name} arrives?|Have we met before, {name}?
Which one is cheaper, {good} or {good2}?|Are you sure about that?|What would you do, {name}?
Isn't it a little too early?|Can I help you with that?
When was the last time you saw {name}?|How do you spell your name?|Does this bus stop at {place}?
Didn't you say you were tired?|You bought {good}, didn't you?
Where did you put {good}?|What on earth happened at {place}?|Should we wait for {name}, or start without them?
May I ask you something?""".replace("\n", "|").split("|")
EXCLAIM = """What a beautiful day!|I can't believe it, {name}!|Look at that, it's {name}!|Happy birthday, {name}!
Don't forget {good}!|That was amazing!
How wonderful to see you!|Stop, you're going the wrong way!|We won, we really won!|Oh no, I left {good} at {place}!
You must be joking!|Hurry up, or we'll miss it!
Congratulations, {name}, you did it!|Welcome to {place}!|That's the best news I've heard all week!
I've never been so happy in my life!|Please, not again!""".replace("\n", "|").split("|")
LISTS = """We need {good}, {good2}, and {good3}.|I visited {place}, {place2}, and {place3} last year.|On the table
there were {good}, {good2}, {good3}, and {good4}.
{name}, {name2}, and {name3} are on the team.|First {good}, then {good2}, and finally {good3}.|Choose one: {good},
{good2}, or {good3}.
The tour goes through {place}, {place2}, {place3}, and back again.|There are three things to remember: {good}, {good2},
and {good3}.""".replace("\n", "|").split("|")
TELL = """{name} said they would be here by {time}.|My flight from {place} was delayed by {small} minutes.|The meeting
with {name} starts at {time}.
Please call me at {phone}.|It costs ${money}, tax included.|In {year}, {name} moved to {place}.
The temperature dropped to {small} degrees.
About {percent}% of the visitors came from {place}.|Your order number is {big}.|She was born on {month} {day}, {year}.
The recipe takes {small} grams of butter.
Chapter {small} begins at {place}.|We drove {small}.{digit} miles in the rain.|I'd like {small} of those, please.
The shop opens at {time} and closes at {time2}.
The score was {small} to {digit}.|{name} lives at {big} Park Avenue.|He ran it in {small} minutes and {small2} seconds.
It happened on {month} {day}.
I'm afraid {name} isn't available right now; can I take a message?|To be fair, I liked {place} more than {place2}.|If
you see {name}, say hello from me.
She smiled, closed the book, and looked out of the window.|The old lighthouse keeper poured himself another cup of
tea.|I was wondering whether you could help me.
It isn't that I don't care; it's just that I'm tired.|Nobody at {place} knew what to do next.|After {name} left, the
room was very quiet.
You know, {name} once told me the same story.|Honestly, I would rather stay home tonight.|The doctor told {name} to
rest for {digit} days.
We watched the sun go down over {place}, and nobody said a word.|There's a small café near {place} that I think you'd
like.""".replace("\n", "|").split("|")
MONTHS = "January February March April May June July August September October November December".split()


def sentence(draw: random.Random) -> str:
    goods, places, names = draw.sample(GOODS, 4), draw.sample(PLACES, 3), draw.sample(NAMES, 3)
    fill = {f"good{i or ''}": good for i, good in enumerate(goods, 1)} | {"good": goods[0]}
    fill |= {f"place{i or ''}": place for i, place in enumerate(places, 1)} | {"place": places[0]}
    fill |= {f"name{i or ''}": name for i, name in enumerate(names, 1)} | {"name": names[0]}
    hour = draw.randint(1, 12)
    fill |= {
        "time": f"{hour}:{draw.choice(['00', '15', '30', '45', '05', '50'])}",
        "time2": f"{draw.randint(1, 12)} {draw.choice(['am', 'pm'])}",
        "small": str(draw.randint(2, 60)),
        "small2": str(draw.randint(2, 59)),
        "digit": str(draw.randint(2, 9)),
        "big": str(draw.randint(100, 9999)),
        "year": str(draw.randint(1900, 2030)),
        "percent": str(draw.randint(2, 99)),
        "money": f"{draw.randint(1, 90)}.{draw.randint(10, 99)}",
        "phone": f"555-{draw.randint(100, 999)}-{draw.randint(1000, 9999)}",
        "month": draw.choice(MONTHS),
        "day": str(draw.randint(1, 28)),
    }
    kind = draw.choices([SHORT, ASK, EXCLAIM, LISTS, TELL], [0.1, 0.25, 0.15, 0.15, 0.35])[0]
    said = draw.choice(kind).format(**fill)
    if kind is SHORT and draw.random() < 0.7:  # alone it is too short to learn much from
        said += " " + draw.choice(draw.choice([SHORT, ASK, TELL])).format(**fill)
    return said[0].upper() + said[1:]


if __name__ == "__main__":
    source = random.Random(0)
    for _ in range(int(sys.argv[1])):
        print(sentence(source))
