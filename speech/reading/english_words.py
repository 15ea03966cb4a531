"""Tables of English: months, titles, abbreviations, acronyms. What the rules in english.py look up."""

from speech.reading.rules import table

MONTHS = ("January February March April May June July August September October November December").split()
MONTH_OF = {m.lower()[:3]: m for m in MONTHS}
DAYS = {
    "mon": "Monday",
    "tue": "Tuesday",
    "tues": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "thur": "Thursday",
    "thurs": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}


TITLES = table("""
Mr: Mister
Mrs: Missus
Dr: Doctor
Prof: Professor
Rev: Reverend
Gen: General
Col: Colonel
Maj: Major
Capt: Captain
Cpt: Captain
Lt: Lieutenant
Cmdr: Commander
Sgt: Sergeant
Cpl: Corporal
Pvt: Private
Adm: Admiral
Sen: Senator
Rep: Representative
Gov: Governor
Pres: President
Hon: Honorable
Fr: Father
St: Saint
Mt: Mount
Ft: Fort
Ms: Ms
Messrs: Messieurs
Mme: Madame
Supt: Superintendent
Insp: Inspector
Det: Detective
Amb: Ambassador
""")
"""Before a name."""
STREETS = table("""
St: Street
Ave: Avenue
Av: Avenue
Blvd: Boulevard
Rd: Road
Ln: Lane
Dr: Drive
Ct: Court
Pl: Place
Sq: Square
Hwy: Highway
Pkwy: Parkway
Ter: Terrace
""")
"""After a name."""
ABBREVIATIONS = table("""
e.g. eg. e.g: for example
i.e. ie. i.e: that is
etc.: et cetera
vs. vs v.s.: versus
approx.: approximately
est.: established
dept. Dept.: department
govt. Govt.: government
univ. Univ.: university
assn. Assn.: association
Inc.: Incorporated
Ltd.: Limited
Corp.: Corporation
Co.: Company
Bros.: Brothers
Jr.: Junior
Sr.: Senior
Esq.: Esquire
Apt.: Apartment
apt.: apartment
Ste.: Suite
ext. Ext.: extension
tel. Tel.: telephone
misc.: miscellaneous
max.: maximum
min.: minimum
avg.: average
temp.: temperature
incl.: including
excl.: excluding
cont.: continued
dist.: district
intl. Intl.: international
natl. Natl.: national
cf.: compare
viz.: namely
ca.: circa
al.: al
a.k.a. aka: also known as
Ave.: Avenue
Blvd.: Boulevard
Rd.: Road
Hwy. Hwy: Highway
w/o: without
w/: with
b/c: because
c/o: care of
n/a N/A: not applicable
qty. Qty.: quantity
sq.: square
cu.: cubic
yr.: year
yrs.: years
hr.: hour
hrs.: hours
wk.: week
wks.: weeks
mo.: month
mos.: months
lb.: pound
lbs.: pounds
oz.: ounces
Ph.D. PhD: P H D
M.D.: M D
M.Sc.: M S C
B.Sc.: B S C
P.S.: P S
""")
BEFORE_NUMBER = table("""
No. no. № Nº N°: number
Nos. nos.: numbers
p.: page
pp.: pages
vol. Vol.: volume
vols. Vols.: volumes
ch. Ch. chap. Chap.: chapter
fig. Fig.: figure
figs. Figs.: figures
sec. Sec.: section
art. Art.: article
ed. Ed.: edition
eq. Eq.: equation
para. Para.: paragraph
pt. Pt.: part
ep. Ep.: episode
c. ca.: circa
Ver. ver. v.: version
""")
SYMBOLS = {
    "&": "and",
    "=": "equals",
    "≈": "approximately equals",
    "≠": "does not equal",
    "≤": "less than or equal to",
    "≥": "greater than or equal to",
    "<=": "less than or equal to",
    ">=": "greater than or equal to",
    "!=": "does not equal",
    "==": "equals",
    "<": "less than",
    ">": "greater than",
    "±": "plus or minus",
    "×": "times",
    "÷": "divided by",
    "·": "times",
    "∞": "infinity",
    "√": "square root of",
    "∑": "sum of",
    "∆": "delta",
    "→": "to",
    "⇒": "implies",
    "°": "degrees",
    "%": "percent",
    "‰": "per mille",
    "@": "at",
    "§": "section",
    "¢": "cents",
    "+": "plus",
    "©": "copyright",
    "²": "squared",
    "³": "cubed",
    "€": "euros",
    "£": "pounds",
    "$": "dollars",
    "π": "pi",
    "Ω": "omega",
    "Δ": "delta",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "σ": "sigma",
    "φ": "phi",
    "ω": "omega",
    "¥": "yen",
}
FRACTIONS = {2: "half", 3: "third", 4: "quarter"}
ROMAN_AFTER = set(
    "chapter part act scene volume book section article phase stage level type class title appendix figure table "
    "episode season grade mark apollo war bowl fantasy rocky unit lesson module vol tier category annex schedule "
    "element page generation gen version saturn olympiad canto verse step round group form "
    "series century corps division quest games olympics".split()
)
REGNAL = set(
    "Henry Louis George Elizabeth Charles Edward Richard James William Mary Pius Paul Benedict Philip Napoleon "
    "Nicholas Alexander Catherine Frederick Ivan Peter Leo Gregory Innocent Clement Ramses Rameses Thutmose Ptolemy "
    "Otto Ferdinand Gustav Christian Harald Olaf Haakon Carl Albert Leopold Emmanuel Francis Franz Wilhelm Urban "
    "Boniface Sixtus Julius Alfonso Juan Umberto Cleopatra Xerxes Darius Artaxerxes Amenhotep Seti Mehmed Selim "
    "Suleiman Murad Edmund Harold Stephen Robert David Malcolm Margaret Isabella Sigismund Casimir Rudolf Joseph "
    "Maximilian Basil Constantine Justinian Theodosius Baldwin Abdullah Hussein Mohammed Rama Felipe Carlos Felix "
    "Matthias Leopold Konstantin Anne Victoria Pope King Queen Emperor Tsar Czar".split()
)
CROWNED = "Pope|King|Queen|Emperor|Empress|Tsar|Czar|Sultan|Shah|Pharaoh|Prince|Duke|Archduke"
"""Before a name whose numeral says which of that name."""
BEFORE_MORE = {"vs.", "vs", "v.s.", "e.g.", "eg.", "i.e.", "ie.", "cf.", "incl.", "approx.", "viz."}
"""Abbreviations that end no sentence, unless nothing comes behind them."""
SPELLED_NUMBER = set(
    "room flight route highway interstate suite apartment apt unit channel bus gate boeing platform line area".split()
)
"""Before three digits that are said in two parts."""
LETTERED = set(
    "apartment apt suite room unit seat flat gate row grade class section exhibit form appendix block house".split()
)
"""Before a number and a letter that is no million."""
YEAR_BEFORE = set(
    "in since by from until till to of year years before after around circa during early late mid spring summer fall "
    "autumn winter between and or class copyright back election edition through for ".split()
)
WORD_ACRONYMS = set(
    "NASA NATO UNESCO UNICEF OPEC FIFA UEFA AIDS RADAR LASER SCUBA SWAT NAFTA ASEAN DARPA POTUS SCOTUS FLOTUS COVID "
    "NOAA WASP NIMBY YOLO FOMO LED SONAR GIF JPEG RAM ROM PIN SIM NASDAQ FEMA OSHA CERN MENSA NASCAR TASER ZIP "
    "WIFI MOMA IKEA LEGO BREXIT SARS MERS ISIS OPAC BAFTA SAT TED TEDX GUI JSON YAML BIOS CAPTCHA MIDI "
    "TOEFL PAWS VAT NOVA".split()
)
"""Read as words although they are written in capitals."""
SPELLED_ACRONYMS = set(
    "LED VAT SAT FBI CIA USA UK EU UN TV DVD CEO CFO CTO AI IT PC ID IP OK DNA RNA HIV ATM GPS USB URL API FAQ DIY "
    "BBC CNN NBC ABC MIT UCLA NYC LA DC PM AM AC DJ MP MPS VIP PR HR QA RSVP ASAP FYI IBM AMD IRS NBA NFL NHL MLB NHS "
    "EPA FDA CDC WHO IMF WTO GDP SUV BMW UFO IQ EQ PHD BA MA MBA SOS HTML CSS SQL PDF CPU GPU SSD AWS ETA IPO KFC HBO "
    "MTV UPS ICU ER OCD ADHD PTSD STD BLT LOL OMG BTW DNS HTTP HTTPS SSH FTP UI UX IOS EV USSR UAE PIN ROI KPI B2B "
    "AOL RPM ESP EST EDT PST PDT CST GMT UTC BC AD BCE CE XL XXL CD CV TNT".split()
)
"""Spelled although they look like words, also in a shouted sentence."""
SHORT_WORDS = set(
    "a i am an as at be by do go he hi if in is it me my no of oh on or ox so to up us we ye yo ah aw ha hm eh uh um "
    "act add age ago aid aim air all and any apt are arm art ask ate bad bag ban bar bat bay bed bee bet big bin bit "
    "bow box boy bug bus but buy bye cab can cap car cat cop cow cry cup cut dad day did die dig dim dip dog dot dry "
    "due dug ear eat egg ego end era eve eye fan far fat fed fee few fig fit fix fly fog for fox fun fur gap gas get "
    "god got gun gut guy had ham has hat her hey hid him hip his hit hot how hug huh hut ice ill ink inn its jam jar "
    "jaw jet job jog joy key kid kit lab lap law lay led leg let lid lie lip lit log lot low mad man map mat may men "
    "met mix mob mom mop mud mum net new nod nor not now nun nut oak odd off oil old one our out owe own pan pat paw "
    "pay pen per pet pie pig pit pop pot put ran rat raw red rid rip row rub rug run sad sat saw say sea see set sex "
    "she shy sin sir sit six ski sky son spy sum sun tag tan tap tar tax tea ten the tie tin tip toe ton too top toy "
    "try two use van war was way web wet who why win wit won yes yet you zoo away baby back ball bank base bath bear "
    "beat been bell best bike bill bird bite blue boat body bomb bone book boom born boss both bowl call calm came "
    "camp card care case cash cell chat city clap club coat code cold come cook cool copy cost crew dare dark data "
    "date dawn dead deal dear debt deep desk dial diet dirt does done door down draw drew drop drug dust each earn "
    "east easy edge else even ever evil exit face fact fade fail fair fake fall fame farm fast fate fear feed feel "
    "feet fell felt file fill film find fine fire firm fish five flag flat flew flip flow folk food foot ford form "
    "four free from fuel full fund gain game gate gave gift girl give glad goal goes gold gone good gray grew grow "
    "hair half hall hand hang hard harm hate have head heal hear heat held hell help here hero hide high hill hire "
    "hold hole holy home hope host hour huge hung hunt hurt idea inch into iron item join joke jump june july just "
    "keep kept kick kill kind king kiss knee knew know lack lady lake land lane last late lead leaf lean left less "
    "life lift like line link list live load loan lock long look lord lose loss lost loud love luck made mail main "
    "make male many mark mass meal mean meat meet menu mess mild milk mind mine miss mode moon more most move much "
    "must myth nail name navy near neck need news next nice nine none noon nope nose note okay once only onto open "
    "oral over pace pack page paid pain pair pale park part pass past path peak pick pink pipe plan play plot plus "
    "poem poet pool poor post pour pull pure push quit race rain rank rare rate read real rear rely rent rest rice "
    "rich ride ring rise risk road rock role roll roof room root rope rose rude rule rush safe said sail sale salt "
    "same sand save seat seed seek seem seen self sell send sent ship shop shot show shut sick side sigh sign sing "
    "sink site size skin slip slow snow soap soft soil sold some song soon sorry sort soul soup spot star stay step "
    "stop such suit sure swim tail take tale talk tall tank tape task team tell tend tent term test text than thank "
    "that them then they thin this thus till time tiny told tone took tool tour town tree trip true tube tune turn "
    "twin type ugly unit upon used user vary vast very vice view vote wage wait wake walk wall want warm warn wash "
    "wave weak wear week well went were west what when whom wide wife wild will wind wine wing wipe wire wise wish "
    "with wood word wore work worn yard yeah year your zero zone".split()
)
STARTERS = set(
    "He She It We They I The A An But And This That These Those In On At There You If When What Where Who Why How "
    "Then So Or His Her Their Our My Your No Not Yes For From With As To After Before Now Here Some Many Most All "
    "Every Each One Two However Later Today Tomorrow Yesterday Please Let Do Does Did Is Are Was Were Will Can "
    "Could Would Should Its Only Just Also Still Nobody Everyone Someone Nothing".split()
)
"""Words that begin a sentence rather than go on with a name."""
