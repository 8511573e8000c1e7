"""What a face model is for and what it is not for: the same on every card, since it is true of each of them."""

from __future__ import annotations

INTENDED = (
    "Verification of consenting people: is this the person who enrolled? An application to unlock a device, to check "
    "in, or to sort one's own photos.",
    "Research on compact face models.",
)

NOT_INTENDED = (
    "Surveillance, or looking for people in a crowd or in photos whose people were not asked.",
    "A decision of weight about somebody (arrest, entry to a country, benefits, a job) without a human who decides "
    "and a way to object.",
    "Guessing age, sex, origin, health or character: the embedding was not trained for them.",
)

LIMITS = (
    "The figures hold for the people and the photos of the benchmarks. Others, in another light, with another camera, "
    "or children, may be recognised worse. Measure on photos such as your users take.",
    "A threshold is part of the model: measure it in the precision that ships and on such photos, with facedistill "
    "threshold.",
    "The model tells faces apart, not the living from a photo, a mask or a screen: an application that has something "
    "to protect needs a check of liveness besides.",
    "It wants aligned crops. A face that is turned, covered, small or badly aligned gets an embedding all the same, "
    "and a worse one.",
    "People of a benchmark who were trained on flatter its figures. They are looked for where facedistill eval is "
    "given --trained-on, and told below; where it is not, nobody has looked.",
    "An embedding is personal data: a face can partly be reconstructed from it.",
)
