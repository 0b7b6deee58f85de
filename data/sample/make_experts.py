#!/usr/bin/env python3
"""Invents the people of the sample and writes them to experts.csv next to this file.

Every run gives the same bytes: the only random source is one seeded generator,
and only its random() is used, whose sequence Python promises to keep. No person
in it is real, no company is real, and every address is on example.com or
example.org. The professions are in professions.ini.

In the CSV an empty field stands for NULL. A row without tags is a person whom
tag_experts.py has not tagged yet.
"""

import csv
import json
import pathlib
import random
import unicodedata

import tag_experts

HERE = pathlib.Path(__file__).parent
PEOPLE = 1558
UNTAGGED = 158
NEWCOMERS = 60  # the last people of the table, not tagged yet

COLUMNS = (
    "id username first_name last_name job_title company bio hourly_rate currency "
    "profile_url profile_url_utm tags findability_score category"
).split()

# First names, then last names; mostly both are from one line, as in reality.
NAMES = [
    ("Oona Harriet Rupert Imogen Alfie Tamsin Gareth Bronwen Callum Isla Fergus Orla Declan Niamh",
     "Thistlewood Pemberley Ashdown Kerrigan Lockhart Penhallow Craddock Wetherby Ormerod Tolliver Brannigan "
     "Hawksley"),
    ("Élodie Thibault Maëlle Bastien Apolline Gaëtan Solène Yannick Héloïse Loïc Clémence Rémi",
     "Beaufrère Delacourt Vaugrenard Montclar Lesueur Péridot Castagnol Rochebrune Garrigue Tessonneau Aubépin "
     "Corvoisier"),
    ("Jürgen Annegret Björn Käthe Lorenz Mareike Detlef Swantje Götz Liesl Ulrike Anselm",
     "Möllenkamp Grünwaldt Steinhäuser Brackwede Oberlechner Pfeffermann Kühnemund Trautwein Wiesengrund "
     "Hinrichsen Zollikofer Äschbacher"),
    ("Saoirse Aino Eero Solveig Torbjørn Åsa Sigrún Mikkel Liv Kaarlo Freyja Anders",
     "Kettunen Lindqvister Sørlie Hallgrímsdóttir Ahvenniemi Østergren Bjørkheim Rautiainen Stensrud Måneberg "
     "Toivola Fjellström"),
    ("Łucja Zbigniew Grażyna Wojtek Bożena Květa Bohumil Zdeňka Mirek Ľubica Radovan Danuta",
     "Wróblicki Świętochowska Żurawski Brzozowiecka Novotníček Hrušovská Dvořáček Kučerka Mazurczak Ptáčník "
     "Zelenáč-Horák Jasieńczyk"),
    ("Ioana Răzvan Despina Stavros Kalliope Zoltán Ilona Gergő Vesna Zvonimir Dragana Blerim",
     "Munteanescu Papastergiou Kalogeridis Szentmiklósi Bartókfalvi Vukašinović Perković-Lončar Hoxhallari "
     "Țăranu Anagnostaki Kovačina Domokosné"),
    ("Inés Fermín Ximena Baltasar Amparo Joaquim Iker Nerea Leocadia Tomàs Begoña Guillem",
     "Echeberría Montañés-Vela Casalduero Iturriaga Fontquerna Zubizaola Peñarrubia Valldemora Arizcun "
     "Castroviejo Roldanés Bengoetxe"),
    ("Joana Thiago Iracema Cauã Luzia Anselmo Jussara Ubirajara Benedita Valdomiro Yara Raimunda",
     "Albuquerquino Sampaiense Figueirol Taquaral Vasconcelhos Nogueirense Itaparica Carvalhosa Pedrosinho "
     "Quintanilha Moraesinho Guimarãesa"),
    ("Citlali Yamil Rosalba Illari Nayeli Evaristo Milagros Wayra Ezequiel Anahí Amaru Soledad",
     "Quispehuaman Xochitlán Mamanchura Villacorta-Ruiz Tecalco Choquehuara Altamiranda Cuauhtlapan Sotomonte "
     "Huarachi Pacaritambo Olmedillo"),
    ("Adaeze Chinedu Folasade Kwabena Abena Olumide Ngozi Kofi Yewande Tunde Efua Babajide",
     "Okwuchukwu Adeyemoja Boatengmaa Nwachinemere Asantewaah Olorunfemiwa Ezeigbogu Quartey-Mensa Akinsowande "
     "Agyepomaa Ifedimma Oyelakinde"),
    ("Wanjiru Baraka Halima Tesfaye Selamawit Juma Neema Abebe Makena Otieno Zawadi Mulugeta",
     "Kamauthi Mwangolela Gebrehanna Ochiengwa Wolde-Tsadik Njoroganga Mutisyoka Kiprotichan Abdikarimo "
     "Lemmachew Nabwirembe Rugambage"),
    ("Thandiwe Sipho Lerato Kagiso Nomvula Tendai Rutendo Bongani Chipo Mandla Naledi Farai",
     "Mkhabelani Dlodlozi Moepanyane Chirwandu Ndebelesha Sibandani Mokgathole Zwelithobe Mutasadzi Wyksdal "
     "Khumaloza Phirimela"),
    ("Yasmina Karim Noura Tariq Lubna Idris Samira Walid Houda Anouar Rim Zakaria",
     "Bensalhi El-Karoumi Haddadine Al-Masraqi Boujenah Tazerouti Mansourieh Qabbanji Zeroualine Al-Tamriyah "
     "Benchekrane Saadallahi"),
    ("Shirin Behrouz Aylin Emrecan Nazlı Golnaz Çağla Farhad Tuğba Kaveh Şebnem Ardavan",
     "Yıldızoğan Karimabadi Çelikbaşar Golestanian Özdemirkan Tehranchiyan Arslanbek Farrokhmanesh Güneşdağ "
     "Nikravesh-Pour Şahinbay Esfandiarpour"),
    ("Ananya Raghav Meenakshi Devdutt Ishita Harpreet Lakshmi Aniruddh Farzana Sukhwinder Nandini Tanvir",
     "Bhattacharjya Iyengaraman Chaturvedula Gokhalekar Mukhopadhyaya Sandhuwalia Deshmukhe Venkatanarayan "
     "Rahmatullahi Kulkarnikar Jayasundera Thapaliyal"),
    ("Nilufar Timur Aigerim Batbayar Oyuna Daniyar Gulnara Sanzhar Dilnoza Erdene Zarina Bekzod",
     "Sultangaziev Ganbolding Abdurakhmonova Nurlanbekov Tsendbaatar Karimberdiyev Mukhtarsheva Dorjsurenov "
     "Alimzhanova Yusupaliyev Otgonbold Rysbaikyzy"),
    ("Haruka Kenshiro Mizuki Daichi Fumiko Sōta Nanako Ryūnosuke Chiyo Takumi Ayane Jun'ichi",
     "Hoshikawara Minazukino Takatsuharu Ōkubayashi Shirayanagi Natsumegawa Kuramochida Umezonoi Fujisakamoto "
     "Araragihara Tsukishimura Inabayashiro"),
    ("Xiuying Haoran Meilin Zihao Yulan Jian'an Seo-yeon Min-jae Ha-eun Dong-hyun Wing-yan Chun-hei",
     "Ouyangzhi Linghuan Shangguo Zhugemin Namgungsoo Hwangboram Seonwoong Tsuiwing Dokgohwan Murongke Situwen "
     "Chanlam"),
    ("Linh Quốc Thảo Đức Ayu Bagus Siti Maricel Jejomar Phaibun Malee Keola",
     "Nguyễnthanh Trầnhoài Wirasantika Purnomosidhi Dimaculangan Batungbakal Srisawatdi Chaiyaphonglert "
     "Kahananui-Lau Phạmviệt Hartantowidjaja Vongsakhamphou"),
    ("Aroha Tama Leilani Sione Mere Wiremu Sefina Kahu Lupe Rangi Talia Manaia",
     "Parata-Wilkes Tuilagafa Ngatawhero Faleolomoa Waititia Kereamana Taufahuala Rewi-Holm Leiatauana "
     "Pomarekura Tuivasavou Hohepanui"),
]

# A few people with names in other scripts; the third item is their address.
OTHER_SCRIPTS = [
    ("Зоряна", "Калинецька", "zoriana.kalynetska"), ("Прохор", "Верхоглядов", "prokhor.verkhoglyadov"),
    ("Ευγενία", "Παπαλουκά", "evgenia.papalouka"), ("美月", "水無瀬", "mizuki.minase"),
    ("健太", "白鳥沢", "kenta.shiratorizawa"), ("思远", "欧阳", "siyuan.ouyang"),
    ("서윤", "남궁", "seoyun.namgung"), ("ليلى", "الزيتونية", "layla.zaytuniya"),
    ("יעל", "בן־תמר", "yael.bentamar"), ("მზია", "წიქარიშვილი", "mzia.tsikarishvili"),
    ("अनुष्का", "पर्वतकर", "anushka.parvatkar"), ("Անահիտ", "Լուսինյանց", "anahit.lusiniants"),
    ("ทิพย์", "แสงอรุณรัตน์", "thip.saengarunrat"), ("Բագրատ", "Քարահունջ", "bagrat.karahunj"),
]

# Places with their currency, and how many of it are one euro.
PLACES = [place.split("/") for place in (
    "Lisbon/EUR/1 Porto/EUR/1 Bilbao/EUR/1 Valencia/EUR/1 Toulouse/EUR/1 Nantes/EUR/1 Liège/EUR/1 Utrecht/EUR/1 "
    "Bremen/EUR/1 Leipzig/EUR/1 Graz/EUR/1 Turin/EUR/1 Palermo/EUR/1 Ljubljana/EUR/1 Tartu/EUR/1 Kaunas/EUR/1 "
    "Turku/EUR/1 Galway/EUR/1 Thessaloniki/EUR/1 Košice/EUR/1 Leeds/GBP/0.86 Glasgow/GBP/0.86 Cardiff/GBP/0.86 "
    "Belfast/GBP/0.86 Zürich/CHF/0.96 Lausanne/CHF/0.96 Bergen/NOK/11.5 Malmö/SEK/11.2 Aarhus/DKK/7.5 "
    "Kraków/PLN/4.3 Gdańsk/PLN/4.3 Brno/CZK/25 Cluj/RON/5 İzmir/TRY/45 Tbilisi/GEL/3 Almaty/KZT/540 "
    "Halifax/CAD/1.5 Winnipeg/CAD/1.5 Portland/USD/1.1 Tucson/USD/1.1 Buffalo/USD/1.1 Oaxaca/MXN/20 Mérida/MXN/20 "
    "Medellín/COP/4500 Arequipa/PEN/4 Valparaíso/CLP/1030 Rosario/USD/1.1 Recife/BRL/6 Curitiba/BRL/6 "
    "Accra/GHS/16 Ibadan/NGN/1700 Mombasa/KES/140 Arusha/TZS/2800 Kampala/UGX/4000 Lusaka/ZMW/27 Durban/ZAR/20 "
    "Windhoek/ZAR/20 Fès/MAD/10.7 Sfax/TND/3.4 Alexandria/EGP/53 Amman/JOD/0.78 Pune/INR/93 Kochi/INR/93 "
    "Jaipur/INR/93 Kandy/LKR/325 Chittagong/BDT/130 Pokhara/NPR/149 Chiang_Mai/THB/38 Huế/VND/28000 "
    "Yogyakarta/IDR/17800 Cebu/PHP/63 Penang/MYR/4.7 Tainan/TWD/35 Busan/KRW/1500 Sendai/JPY/165 Kanazawa/JPY/165 "
    "Kunming/CNY/7.8 Perth/AUD/1.7 Hobart/AUD/1.7 Dunedin/NZD/1.85 Suva/FJD/2.5 Ulaanbaatar/MNT/3700"
).split()]

STEMS = (
    "Velmora Tarnhollow Quillbrook Ossendrift Marlowick Brightfen Caldermoss Ravensett Lumenhay Ferrowyn Halcybridge "
    "Nordvik-Sand Pinehalter Saltmarrow Windlestone Ashgrovian Corvamere Dunwhistle Emberlyn Foxtarn Greylantern "
    "Hollowreed Juniperay Kestrelby Larkenfield Mossgate Nettlecombe Orrinday Plumstead-Vale Quarryhithe Rushmeadow "
    "Silverhythe Thornwick Umberleigh Vesperine Wrenhollow Yarrowdale Zephyrine Bellamarsh Copperwyke"
).split()
SUFFIXES = {
    "Health": "Clinic;Hospital;Practice;Health Centre", "Animals": "Animal Care;Farm Services;Sanctuary",
    "Science": "Institute;Laboratories;Observatory;Research", "Agriculture": "Farms;Estate;Growers;Land Trust",
    "Engineering": "Engineering;Consulting Engineers;Works", "Trades": "& Sons;& Daughters;Workshop;Trades",
    "Food": "Kitchen;Provisions;Table;Food Co-op", "Law and money": "Chambers;& Partners;Advisers;LLP",
    "Computing": "Systems;Software;Labs;Data", "Building": "Studio;Design Office;Planning",
    "Arts": "Studio;Ensemble;Arts", "Languages": "Languages;Language Services",
    "Education": "School;College;Museum;University",
    "Transport": "Lines;Transport;Logistics", "Business": "Consulting;Group;Associates", "Media": "Media;Press;Radio",
    "Outdoors": "Mountain School;Outdoors", "Safety": "Fire Service;Safety", "Social": "Foundation;House;Trust",
    "Sport": "Club;Sports;Studio",
}

OPENERS = {
    "third": [
        "{First} has spent {years} years {does} for {whom}.",
        "Based in {place}, {First} divides the week between {does} and {does2}.",
        "{First} moved to {place} in {year} and has been {does} ever since.",
        "Most of {First}'s work is {does}, usually for {whom}.",
        "{First} trained in {place2} and now works in {place}, {does} and {does2}.",
        "After {years} years with {whom}, {First} set up alone in {place}; the work is mostly {does}.",
        "When {whom} in {place} need help with {does}, they ask {First}.",
        "{First} came to {does} late, in {year}, after a first career that is best left unmentioned.",
        "{title} {First} {Last} works in {place}, {does}.",
        "It was {does} that brought {First} to {place} in {year}; {does2} came later.",
    ],
    "first": [
        "I have been {does} since {year}.",
        "My days go on {does} and, when time allows, {does2}.",
        "For {years} years I have worked with {whom} in {place}, mostly {does}.",
        "I came to {place} for one project in {year} and stayed, {does} for {whom}.",
        "Ask me about {does}.",
        "What I like best is {does}; what pays the rent is {does2}.",
        "I work between {place} and {place2}, {does} for {whom}.",
        "My grandmother did this work before me; I carry on, {does} in {place}.",
    ],
    "terse": [
        "{Years} years of {does}, most of them in {place}.",
        "Specialist in {does} and {does2}.",
        "Works from {place}: {does}, {does2}.",
        "{Does} for {whom}, in {place} and the region around it.",
        "From {place}, with {years} years behind the job: {does}, {does2} and {does3}.",
        "{Does} by day, {does2} by night.",
        "{title} in {place} since {year}, with a name for {does}.",
        "Independent since {year}; {does} for {whom}.",
        "{Whom} first: {does}, {does2}.",
    ],
}
MIDDLES = {
    "third": [
        "Also {does3}.", "Has a soft spot for {does3}.", "Lately {does3}, too.", "In {year2} turned to {does3}.",
        "Clients are {whom2}, with the odd exception.", "Before that, {years2} years in {place2}, {does3}.",
        "{First} prefers {does2} to anything that needs a slide deck.",
    ],
    "first": [
        "I also enjoy {does3}.", "In {year2} I added {does3}.", "Most of my clients are {whom2}.",
        "I learned the job in {place2}, {does3}.", "I say no to more work than I take, but rarely to {does2}.",
    ],
    "terse": [
        "Second interest: {does3}.", "Before {year2}: {does3} in {place2}.", "Works mainly for {whom2}.",
        "Recent work includes {does2}.", "Also {does3}.",
    ],
}
CLOSINGS = [
    "Works in {language} and {language2}.", "Speaks {language}, {language2} and enough {language3} to apologise.",
    "Teaches an evening class in {place}.", 'Wrote a short book, "{book}".', "Available {when}.",
    "Free for new work from {month} on.", "Not before {month}, please.", "At weekends {hobby}.",
    "Outside work: {hobby}, badly.", "Was {other} until {year2}.", "Travels to {place2} twice a year.",
    "Married to {other}; they do not talk shop.", "Remote work is fine, {place2} is better.",
    'Known to colleagues as "{nickname}".', "Answers mail on {day}s.", "First call is free.",
    "References on request, also from {place2}.", "Gave the closing talk at a congress in {place2} in {year2}.",
    "Runs a small newsletter with {readers} readers.", "Mentors two beginners at a time.", "Prefers the train.",
    "Will travel anywhere a ferry goes.", "Studied in {place2}, class of {year}.", "Quotes are binding.",
    "Half the week belongs to three children.", "Back at work after a year of parental leave.",
]
WORDS = {
    "language": "English;Portuguese;Spanish;French;German;Italian;Polish;Turkish;Arabic;Swahili;Yoruba;Hindi;Tamil;"
                "Mandarin;Japanese;Korean;Vietnamese;Finnish;Greek;Catalan;Welsh;Quechua;Amharic;Persian",
    "when": "two days a week;on short notice;for long projects only;from home;in the mornings;"
            "until the end of the year;for site visits;as a second opinion;every other week;outside the harvest",
    "month": "January;February;March;April;May;June;July;August;September;October;November;December",
    "day": "Monday;Tuesday;Wednesday;Thursday;Friday",
    "hobby": "restoring an old dinghy;playing the accordion;running fell races;growing chillies;folding paper;"
             "singing bass in a choir;mending radios;watching waders;playing chess by post;learning to juggle;"
             "cooking for twelve;swimming in cold lakes;building kites;dancing tango;collecting tram tickets",
    "book": "Notes from the second row;What the manual leaves out;Slowly, then properly;A year of small repairs;"
            "Everything but the invoice;Questions I am asked on trains;The long way to yes;Measure it again;"
            "Nine mistakes",
    "nickname": "the whisperer;Doctor Maybe;the last resort;quarter past;the oracle;Plan B;the quiet one;two pencils",
    "readers": "300;1,100;4,500;90;12,000;740",
    "years": "two;three;four;five;six;seven;eight;nine;ten;eleven;twelve;fourteen;fifteen;seventeen;twenty;"
             "twenty-two;twenty-five;thirty",
}
WORDS = {kind: words.split(";") for kind, words in WORDS.items()}


class Chance:
    """Random choices that are the same in every version of Python."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, n):
        return int(self.random() * n)

    def one(self, items):
        return items[self.below(len(items))]

    def some(self, items, n):
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(n)]

    def happens(self, share):
        return self.random() < share


def upper_first(text):
    return text[:1].upper() + text[1:]


def slug(*names):
    """Names in the form of an address."""
    plain = ".".join(names).lower().translate(str.maketrans("łøđıæ", "lodia"))
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return plain.replace("'", "").replace(" ", "")


def name(chance, taken):
    """First name, last name and address of a person who is not in the sample yet."""
    while True:
        if chance.happens(0.012):
            first, last, address = chance.one(OTHER_SCRIPTS)
        else:
            firsts, lasts = chance.one(NAMES)
            if chance.happens(0.15):
                lasts = chance.one(NAMES)[1]
            first, last = chance.one(firsts.split()), chance.one(lasts.split())
            address = chance.one([slug(first, last), slug(last, first), slug(first[0], last), slug(first, last)])
        if (first, last) not in taken:
            taken.add((first, last))
            return first, last, address


def bio(chance, words, profession, others):
    """One to four sentences about a person, all in the same style."""
    voice = chance.one(["third", "third", "first", "terse"])
    length = chance.one([1, 2, 2, 3, 3, 3, 4])
    middles = chance.some(MIDDLES[voice], 1) + chance.some(profession["did"], 2)
    rest = chance.some(middles, min(length - 1, 2)) if length > 1 else []
    if length == 4 or (length > 1 and chance.happens(0.35)):
        rest = rest[: length - 2] + [chance.one(CLOSINGS)]
    other = chance.one(others)
    words = dict(words, other=("an " if other[0] in "aeiou" else "a ") + other)
    sentences = [upper_first(template.format(**words)) for template in [chance.one(OPENERS[voice]), *rest]]
    return " ".join(sentences)


def vocabulary(chance, person, profession, place):
    """The values for the fields of one person's sentences."""
    does = chance.some(profession["does"], 3)
    whom = chance.some(profession["for"], 2)
    languages = chance.some(WORDS["language"], 3)
    words = {kind: chance.one(items) for kind, items in WORDS.items()}
    year = 1988 + chance.below(36)
    return words | {
        "First": person["first_name"], "Last": person["last_name"],
        "title": person["job_title"] or upper_first(profession["name"]),
        "does": does[0], "does2": does[1], "does3": does[2], "Does": upper_first(does[0]),
        "whom": whom[0], "whom2": whom[1], "Whom": upper_first(whom[0]),
        "place": place, "place2": chance.one([other[0].replace("_", " ") for other in PLACES if other[0] != place]),
        "year": year, "year2": min(year + 1 + chance.below(9), 2025),
        "Years": upper_first(words["years"]), "years2": chance.one(WORDS["years"][:10]),
        "language": languages[0], "language2": languages[1], "language3": languages[2],
    }


def rate(chance, usual, in_one_euro):
    """An hourly rate as people state it: rounded, sometimes with a half."""
    exact = usual * (0.6 + 0.9 * chance.random()) * in_one_euro
    step = next(step for step in (5000, 500, 50, 5, 0.5) if exact >= 20 * step or step == 0.5)
    return round(exact / step) * float(step)


def person(chance, number, profession, others, taken):
    """One row of the table, without tags."""
    first, last, address = name(chance, taken)
    place, currency, in_one_euro = chance.one(PLACES)
    place = place.replace("_", " ")
    while address in taken:
        address += str(2 + chance.below(97))
    taken.add(address)
    row = {"id": number, "username": address, "first_name": first, "last_name": last}
    row["job_title"] = None if chance.happens(0.05) else chance.one(profession["titles"])
    company = f"{chance.one(STEMS)} {chance.one(SUFFIXES[profession['category']].split(';'))}"
    row["company"] = None if chance.happens(0.22) else company
    words = vocabulary(chance, row, profession, place)
    row["bio"] = None if chance.happens(0.04) else bio(chance, words, profession, others)
    row["hourly_rate"] = None if chance.happens(0.06) else rate(chance, profession["rate"], float(in_one_euro))
    row["currency"] = currency if row["hourly_rate"] is not None else None
    if not chance.happens(0.02):
        base = chance.one(["https://example.com/experts/", "https://example.com/experts/", "https://example.org/people/"])
        source = chance.one(["directory", "newsletter", "search"])
        row["profile_url"] = base + address
        row["profile_url_utm"] = f"{base}{address}?utm_source={source}&utm_medium=profile"
    score = (chance.random() + chance.random() + chance.random()) / 3
    row["findability_score"] = None if chance.happens(0.03) else round(score, 3)
    row["category"] = profession["category"]
    return row


def people(chance):
    """All people, in id order, each profession about equally often."""
    professions = tag_experts.PROFESSIONS
    taken, queue, rows, bios = set(), [], [], set()
    while len(rows) < PEOPLE:
        queue = queue or chance.some(professions, len(professions))
        profession = queue.pop()
        others = [other["name"] for other in professions if other is not profession]
        row = person(chance, len(rows) + 1, profession, others, taken)
        if row["bio"] is not None and row["bio"] in bios:
            continue
        bios.add(row["bio"])
        rows.append(row)
    return rows


def leave_untagged(chance, rows):
    """The ids of people without tags: the newest, and some others."""
    newest = [row["id"] for row in rows[-NEWCOMERS:]]
    return set(newest + chance.some([row["id"] for row in rows[:-NEWCOMERS]], UNTAGGED - NEWCOMERS))


def main():
    chance = Chance(20261122)
    rows = people(chance)
    untagged = leave_untagged(chance, rows)
    for row in rows:
        if row["id"] not in untagged:
            row["tags"] = json.dumps(tag_experts.tags_for(row["job_title"], row["bio"]), ensure_ascii=False)
    with open(HERE / "experts.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
