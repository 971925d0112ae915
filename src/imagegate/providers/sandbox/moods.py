"""What a prompt asks for in words: scene, hour and weather (the mood), colour, guests."""

import re
from dataclasses import dataclass, replace
from random import Random

from imagegate.providers.sandbox.canvas import Colour, mix


@dataclass(frozen=True, slots=True)
class Mood:
    """sky: zenith to horizon. light: falls on things. haze: what distance turns them into."""

    name: str
    sky: tuple[Colour, Colour, Colour]
    sun: Colour
    haze: Colour
    light: Colour
    dark: bool = False


MOODS = {
    mood.name: mood
    for mood in (
        Mood(
            "day",
            ((38, 112, 196), (112, 184, 232), (222, 240, 238)),
            (255, 250, 224),
            (196, 224, 232),
            (255, 250, 240),
        ),
        Mood(
            "dawn",
            ((92, 110, 176), (226, 156, 172), (255, 218, 178)),
            (255, 244, 214),
            (246, 200, 184),
            (206, 164, 176),
        ),
        Mood(
            "sunset",
            ((66, 32, 96), (214, 78, 86), (255, 190, 92)),
            (255, 236, 170),
            (240, 132, 92),
            (176, 96, 104),
        ),
        Mood(
            "dusk",
            ((22, 26, 70), (92, 72, 144), (240, 146, 150)),
            (255, 222, 196),
            (176, 112, 150),
            (112, 96, 150),
        ),
        Mood(
            "night",
            ((5, 9, 28), (14, 30, 74), (50, 84, 138)),
            (244, 242, 224),
            (44, 74, 124),
            (62, 84, 132),
            True,
        ),
        Mood(
            "aurora",
            ((6, 10, 30), (8, 40, 62), (26, 104, 108)),
            (236, 248, 236),
            (24, 86, 100),
            (52, 100, 122),
            True,
        ),
        Mood(
            "mist",
            ((156, 178, 186), (202, 214, 212), (240, 238, 226)),
            (255, 253, 244),
            (220, 224, 218),
            (178, 190, 188),
        ),
        Mood(
            "gold",
            ((222, 138, 62), (248, 190, 100), (255, 236, 180)),
            (255, 252, 226),
            (252, 206, 130),
            (222, 164, 112),
        ),
        Mood(
            "teal",
            ((14, 66, 88), (40, 146, 150), (250, 224, 170)),
            (255, 240, 196),
            (130, 190, 176),
            (140, 186, 178),
        ),
        Mood(
            "rose",
            ((120, 84, 170), (236, 132, 176), (255, 214, 206)),
            (255, 246, 232),
            (240, 172, 190),
            (202, 142, 180),
        ),
    )
}

MOOD_WORDS = {
    "aurora": "aurora northern arctic polar borealis",
    "sunset": "sunset evening",
    "dawn": "dawn sunrise morning",
    "dusk": "dusk twilight",
    "night": "night midnight moon moonlit moonlight dark starry neon",
    "mist": "mist misty fog foggy rain rainy cloudy storm grey gray",
    "gold": "gold golden autumn fall amber",
    "day": "day noon sunny summer bright spring sky",
}

COLOUR_WORDS: dict[str, Colour] = {
    "red": (226, 44, 48), "crimson": (200, 24, 60), "orange": (250, 130, 30), "yellow": (252, 214, 50),
    "green": (52, 168, 84), "emerald": (20, 160, 110), "turquoise": (48, 200, 196), "teal": (20, 140, 146),
    "blue": (44, 104, 224), "purple": (138, 62, 200), "violet": (140, 80, 220), "pink": (250, 120, 176),
    "brown": (140, 92, 56), "white": (246, 246, 250), "black": (24, 24, 30),
}  # fmt: skip

SCENE_WORDS = {
    "city": "city town street skyline building tower tokyo york paris london car robot cyberpunk office",
    "space": "space planet galaxy astronaut rocket cosmos cosmic universe alien saturn mars spaceship nebula",
    "sea": "sea ocean beach wave harbor harbour boat ship sail sailboat island coast whale fish lighthouse",
    "desert": "desert dune sand sahara cactus camel pyramid canyon egypt",
    "winter": "snow winter snowy ice icy christmas frost cold",
    "forest": "forest wood tree jungle bear fox deer owl pine wolf",
    "lake": "lake river reflection pond water swan",
    "mountains": "mountain alps alpine peak summit cliff valley dragon eagle",
    "meadow": "meadow field farm garden flower hill grass cat dog horse house village sheep balloon",
}

DEEP = ["sunset", "dusk", "teal", "rose"]
"""Moods with the colours of a nebula."""

MOTIFS = {
    "cat": "cat kitten",
    "balloon": "balloon",
    "bird": "bird eagle gull seagull swallow",
    "boat": "boat ship sail sailboat",
    "house": "house cabin cottage hut farm village",
    "lighthouse": "lighthouse",
    "pyramid": "pyramid egypt",
}


@dataclass(frozen=True, slots=True)
class Theme:
    scene: str
    mood: Mood
    motifs: frozenset[str]


def read_theme(prompt: str, rng: Random, unwanted: str = "") -> Theme:
    """What the words say; what they leave open, the dice decide. unwanted: words for what must not be there."""
    shunned = words_of(unwanted)
    words = words_of(prompt) - shunned
    scene_draw, mood_draw = rng.random(), rng.random()
    scenes = named(SCENE_WORDS, words)[:1] or without(list(SCENE_WORDS), named(SCENE_WORDS, shunned))
    scene = scenes[int(scene_draw * len(scenes))]
    colours = sorted(words & COLOUR_WORDS.keys())
    told = DEEP if scene == "space" else named(MOOD_WORDS, words)
    moods = told or [
        m.name for m in MOODS.values() if not (m.dark and colours)
    ]  # no colour shows in the dark
    moods = without(moods, named(MOOD_WORDS, shunned))
    mood = MOODS[moods[int(mood_draw * len(moods))]]
    for colour in colours:
        mood = tinted(mood, COLOUR_WORDS[colour])
    return Theme(scene, mood, frozenset(named(MOTIFS, words)) - frozenset(named(MOTIFS, shunned)))


def words_of(text: str) -> set[str]:
    """Small letters only, a plural also as a singular."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    return words | {word[:-1] for word in words if word.endswith("s")}


def without(names: list[str], shunned: list[str]) -> list[str]:
    """The names that are not shunned; all of them where none would be left."""
    return [name for name in names if name not in shunned] or names


def named(vocabulary: dict[str, str], words: set[str]) -> list[str]:
    return [name for name, told in vocabulary.items() if words.intersection(told.split())]


def tinted(mood: Mood, colour: Colour) -> Mood:
    """The mood under a coloured filter: hues move towards `colour`, brightness stays about the same."""
    zenith, middle, horizon = mood.sky
    return replace(
        mood,
        sky=(toned(zenith, colour, 0.85), toned(middle, colour, 0.78), toned(horizon, colour, 0.5)),
        haze=toned(mood.haze, colour, 0.7),
        light=toned(mood.light, colour, 0.45),
    )


def toned(base: Colour, colour: Colour, amount: float) -> Colour:
    brightness = (base[0] * 3 + base[1] * 6 + base[2]) / 2550
    darkened = mix((0, 0, 0), colour, brightness * 2.0)
    return mix(base, mix(darkened, (255, 255, 255), (brightness - 0.6) * 0.8), amount)
