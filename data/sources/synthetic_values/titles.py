"""Titles of the synthetic log's items, whose words belong to a taste, so that a text feature reveals tastes."""

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc

ADJECTIVES = (
    "Silent", "Golden", "Broken", "Hidden", "Last", "Crimson", "Distant", "Gentle", "Wild", "Frozen", "Secret",
    "Lonely", "Bright", "Fallen", "Endless", "Quiet", "Burning", "Forgotten", "Restless", "Second",
)  # fmt: skip
THEMES = tuple(
    line.split()
    for line in """
        Comet Orbit Nebula Starship Moonbase Asteroid Signal Eclipse
        Harbour Lighthouse Captain Anchor Tide Schooner Reef Compass
        Detective Alibi Ledger Witness Fingerprint Suspect Cellar Verdict
        Saddle Canyon Sheriff Stagecoach Prairie Outlaw Ranch Spur
        Kitchen Recipe Baker Orchard Teapot Saffron Market Oven
        Dragon Sorcerer Rune Tower Griffin Amulet Kingdom Quest
        Piano Sonata Ballroom Violin Chorus Waltz Encore Conductor
        Robot Circuit Android Laboratory Engine Prototype Sensor Algorithm
        Ghost Mansion Crypt Seance Whisper Graveyard Mirror Candle
        Racetrack Throttle Driver Pitstop Highway Turbo Podium Garage
        Trench Battalion Bunker Medic Bugle Frontline Telegram Armistice
        Penguin Meadow Fox Hedgehog Burrow Otter Forest Sparrow
        Summit Glacier Rope Avalanche Basecamp Ridge Sherpa Icefall
        Senator Ballot Scandal Embassy Cabinet Campaign Speechwriter Treaty
        Wedding Bouquet Honeymoon Letter Sweetheart Promise Bridesmaid Ring
        Stadium Goalkeeper League Whistle Dugout Trophy Substitute Derby
        Jungle Temple Explorer Idol Machete Waterfall Parrot Expedition
        Hospital Surgeon Diagnosis Ward Ambulance Scalpel Nurse Clinic
        Hacker Firewall Password Terminal Cipher Server Keyboard Virus
        Circus Acrobat Juggler Tent Trapeze Clown Ringmaster Carousel
        Pharaoh Pyramid Scarab Chariot Papyrus Oasis Sphinx Nile
        Samurai Katana Shogun Dojo Blossom Ronin Teahouse Bamboo
        Classroom Professor Locker Scholarship Exam Dormitory Library Graduate
        Submarine Sonar Periscope Torpedo Trenchwater Hatch Abyss Diver
    """.strip().splitlines()
)
STRIDE = 477
"""Coprime to the number of titles of a theme: taking each 477th gives all of them once, in a mixed order."""


def titles(clusters: np.ndarray) -> pa.Array:
    """string [num_items]: distinct titles such as "Silent Comet of the Orbit".

    A theme that has more items than titles goes on with "Silent Comet of the Orbit 2".

    Args:
        clusters: int [num_items], each item's taste. Its theme is the taste modulo the number of THEMES.
    """
    theme, words = clusters % len(THEMES), len(THEMES[0])
    distinct = len(ADJECTIVES) * words * (words - 1)
    volume, number = np.divmod(number_within(theme), distinct)
    number, adjective = np.divmod(number * STRIDE % distinct, len(ADJECTIVES))
    step, first = np.divmod(number, words)
    second = (first + 1 + step) % words  # never the first noun again
    nouns = pa.array([noun for words in THEMES for noun in words])
    parts = [pa.array(ADJECTIVES).take(adjective), nouns.take(theme * words + first)]
    parts += [pa.scalar("of the"), nouns.take(theme * words + second), _volume(volume)]
    return pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(*parts, " "))


def number_within(groups: np.ndarray) -> np.ndarray:
    """int64 [len(groups)]: for each element, the number of elements of the same group before it."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    number = np.empty(len(groups), dtype=np.int64)
    number[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    return number


def _volume(volume: np.ndarray) -> pa.Array:
    """The number behind a title: "" for its first item, then "2", "3", ..."""
    return pc.if_else(pa.array(volume > 0), pa.array(volume + 1).cast(pa.string()), "")
