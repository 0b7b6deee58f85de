#!/usr/bin/env python3
"""make_judgements.py: writes queries.jsonl and qrels.tsv, sixty questions about the sample experts.

The questions are written as people ask; each is about one profession and one
part of its daily work, as professions.ini has them. A person whose bio says
that work is a very good answer (2), anybody else of the profession a useful
one (1). Both files are in BEIR's layout.
"""

import configparser
import csv
import json
import pathlib

HERE = pathlib.Path(__file__).parent

# The question, the profession, and the work that answers it best.
QUESTIONS = [
    ("my father's heart keeps skipping beats", "cardiologist", "treating irregular heartbeats"),
    ("our baby came two months early, who can help us", "paediatric nurse", "caring for premature infants"),
    ("my knee after a torn ligament", "physiotherapist", "rehabilitating knees after ligament surgery"),
    ("what should I eat with diabetes", "dietitian", "designing meal plans for type 2 diabetes"),
    ("is my little son autistic?", "child psychologist", "assessing autism in young children"),
    ("scared of the dentist, who is patient", "dentist", "treating patients who fear the drill"),
    ("we want to have the baby at home", "midwife", "attending home births"),
    ("grandma takes a dozen pills, do they go together", "pharmacist", "checking what twelve pills a day do to each other"),
    ("new hip, who operates", "surgeon", "replacing worn hips and knees"),
    ("horse is limping", "veterinarian", "treating lame horses"),
    ("dog bites visitors", "dog trainer", "calming dogs that bite"),
    ("bees on the roof of our office in the city", "beekeeper", "keeping hives on city roofs"),
    ("why are the corals turning white", "marine biologist", "studying coral bleaching"),
    ("does a planet around another star have air", "astrophysicist", "measuring the atmospheres of exoplanets"),
    ("glue that comes off again when you want it to", "chemist", "developing glues that let go on demand"),
    ("is the slope above our village going to slide", "geologist", "mapping landslide hazards"),
    ("how much heavier will the rain get", "climate scientist", "modelling extreme rainfall"),
    ("how many patients do we need in our drug trial", "statistician", "planning clinical trials"),
    ("soil is tired and bare, bring it back", "soil scientist", "restoring degraded land"),
    ("my fermentation has stopped halfway", "winemaker", "rescuing stuck fermentations"),
    ("forest is only spruce and dying", "forester", "converting spruce plantations to mixed forest"),
    ("someone to save our old orchard", "gardener", "pruning old apple trees"),
    ("will our old town hall survive an earthquake", "structural engineer", "assessing how old buildings stand an earthquake"),
    ("solar on my roof", "electrician", "installing rooftop solar panels"),
    ("swap the gas boiler for a heat pump", "plumber", "replacing gas boilers by heat pumps"),
    ("a table made of wood from around here", "carpenter", "building furniture from local walnut"),
    ("wall without cement along the field", "stonemason", "building dry-stone walls"),
    ("locked the safe and lost the combination", "locksmith", "opening safes without drilling"),
    ("electric car shows an error, nobody finds it", "mechanic", "diagnosing electric vehicles"),
    ("crack in the hull of my boat", "welder", "repairing cracked hulls"),
    ("bread with wild yeast", "baker", "baking sourdough"),
    ("cook for guests with nut allergies", "chef", "cooking for people with allergies"),
    ("our espresso machine is broken", "coffee roaster", "repairing espresso machines"),
    ("beer you can drive after", "brewer", "making beer without alcohol"),
    ("handing the family business to my daughter, taxes", "tax adviser", "planning the handover of family firms"),
    ("police want to question me tomorrow", "criminal lawyer", "advising suspects at the police station"),
    ("my wife abroad needs a visa", "immigration adviser", "assisting families with visas"),
    ("protect an invention for hospitals", "patent attorney", "drafting patents for medical devices"),
    ("prenup before the wedding", "notary", "writing marriage contracts"),
    ("money disappears from our till", "accountant", "finding where cash goes missing"),
    ("where is inflation going", "economist", "modelling inflation"),
    ("what should flood cover cost", "insurance actuary", "pricing flood insurance"),
    ("run a model on a phone", "machine learning researcher", "shrinking neural networks to fit a phone"),
    ("postgres is slow", "database administrator", "tuning PostgreSQL clusters"),
    ("all our files are encrypted and they want bitcoin", "security analyst", "leading teams through ransomware"),
    ("website for blind users", "front-end developer", "making sites work with screen readers"),
    ("sensor must run for years on a battery", "embedded engineer", "making sensors last ten years on one cell"),
    ("cloud costs too much", "site reliability engineer", "cutting cloud bills"),
    ("robot that harvests tomatoes without squashing them", "robotics engineer", "teaching robots to pick ripe tomatoes"),
    ("build a cubesat", "aerospace engineer", "designing small satellites"),
    ("turn the old barn into a house", "architect", "turning barns into homes"),
    ("playground that the kids plan themselves", "landscape architect", "designing playgrounds with children"),
    ("learn the violin at fifty", "violinist", "teaching adults who start late"),
    ("music for my film", "composer", "composing film music"),
    ("a book cover", "illustrator", "designing book covers"),
    ("someone to interpret during an operation", "translator", "interpreting at heart operations"),
    ("nurse from abroad has to pass the language test", "language teacher", "preparing nurses for language exams"),
    ("old letters got wet in the flood", "librarian", "preserving water-damaged paper"),
    ("who lived in our house before us", "historian", "tracing house histories"),
    ("can't sleep", "yoga teacher", "helping insomniacs breathe"),
    ("church clock stands still", "watchmaker", "restoring tower clocks"),
]


def items(text):
    return [item.strip().lower() for item in text.split(";")]


def main():
    professions = configparser.ConfigParser(interpolation=None)
    professions.read(HERE / "professions.ini", encoding="utf-8")
    with open(HERE / "experts.csv", encoding="utf-8", newline="") as file:
        people = list(csv.DictReader(file))
    queries, qrels = [], ["query-id\tcorpus-id\tscore"]
    for number, (question, name, best) in enumerate(QUESTIONS, 1):
        profession = professions[name]
        work, titles = items(profession["does"]), items(profession["titles"])
        assert best.lower() in work, (name, best)
        query = f"q{number:02}"
        queries.append(json.dumps({"_id": query, "text": question}, ensure_ascii=False))
        for person in people:
            bio, title = person["bio"].lower(), person["job_title"].lower()
            if best.lower() in bio:
                qrels.append(f"{query}\t{person['id']}\t2")
            elif title in titles or any(task in bio for task in work):
                qrels.append(f"{query}\t{person['id']}\t1")
    (HERE / "queries.jsonl").write_text("\n".join(queries) + "\n", encoding="utf-8")
    (HERE / "qrels.tsv").write_text("\n".join(qrels) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
