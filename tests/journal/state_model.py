"""The contract of the ledger as a small machine, every reachable state of which is looked at, breadth first.

Two requests spend from one wallet, with one idempotency key or without. A worker may crash between any two steps,
lose its lease while it lives, and wake again after a sweeper ended its generation. What the database does in one
transaction is one step here; what a process does between two transactions is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

HOLD, PRICE = 2, 1

Objects = frozenset[tuple[int, int]]
"""What lies in the store of one generation: the epoch in the object's name, and the run that wrote it."""


@dataclass(frozen=True)
class Rules:
    """What the journal promises; a mutant breaks one promise.

    keys: the idempotency key each request carries. posted: what the wallet starts with; 3 has room for one hold.
    jobs: nobody waits for the generations: they are queued, and whichever worker has room takes them up.
    """

    keys: tuple[str | None, ...] = ("fox", "fox")
    posted: int = 3
    epochs: int = 3
    compare_and_set: bool = True
    new_epochs: bool = True
    unique_keys: bool = True
    one_begins: bool = True
    jobs: bool = False


class Run(NamedTuple):
    """A worker's work on one epoch. `number` tells runs apart even where their epochs are equal."""

    number: int
    epoch: int
    phase: str = "held"


class Generation(NamedTuple):
    """A row, what is stored for it, who works on it, and what callers were told for good.

    looked: the epoch a sweeper is about to end, and the objects it found in it. chosen: the epochs in which workers
    found it queued, each of them about to take it up.
    """

    state: str = "absent"
    epoch: int = 0
    expired: bool = False
    opened: int = 0
    captures: int = 0
    objects: Objects = frozenset()
    images: Objects = frozenset()
    runs: tuple[Run, ...] = ()
    looked: tuple[int, Objects] | None = None
    told: frozenset[str] = frozenset()
    chosen: tuple[int, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.state in ("queued", "running")


class State(NamedTuple):
    posted: int
    held: int
    generations: tuple[Generation, ...]

    def put(self, index: int, changed: Generation, *, posted: int = 0, held: int = 0) -> "State":
        """This state with one generation changed and the wallet moved, as one transaction would."""
        generations = (*self.generations[:index], changed, *self.generations[index + 1 :])
        return State(self.posted + posted, self.held + held, generations)


Step = tuple[str, State]


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """Everything that may happen next. A step may lead back to where it began."""
    for index, generation in enumerate(state.generations):
        yield from submitted(state, index, rules)
        yield from swept(state, index, rules)
        yield from queued(state, index, rules)
        if generation.state == "running" and not generation.expired:
            yield "lease expires", state.put(index, generation._replace(expired=True))
        for run in generation.runs:
            yield from worked(state, index, run, rules)


def submitted(state: State, index: int, rules: Rules) -> Iterator[Step]:
    """A request arrives: for the first time, or once more under its key."""
    owner = index
    if rules.unique_keys and rules.keys[index] is not None:
        twins = (i for i, key in enumerate(rules.keys) if key == rules.keys[index])
        owner = next((i for i in twins if state.generations[i].state != "absent"), index)
    known = state.generations[owner]
    fits = state.posted - state.held >= HOLD
    if known.state == "absent":
        yield ("submit", opened(state, owner, rules)) if fits else ("too little money", state)
    elif rules.keys[index] is None:
        return
    elif known.is_open:
        yield "duplicate waits", state
    elif known.state == "captured":
        yield "duplicate replays images", told(state, owner, "image")
    elif known.state == "lost" and known.opened < rules.epochs:
        yield ("reopen", opened(state, owner, rules)) if fits else ("too little money", state)
    else:
        yield "duplicate replays error", told(state, owner, "error")


def opened(state: State, index: int, rules: Rules) -> State:
    known = state.generations[index]
    epoch = known.epoch + 1 if rules.new_epochs else 1
    if rules.jobs:
        return state.put(index, known._replace(state="queued", epoch=epoch), held=HOLD)
    return state.put(index, begun(known, epoch), held=HOLD)


def begun(known: Generation, epoch: int) -> Generation:
    number = known.opened + 1
    runs = (*known.runs, Run(number, epoch))
    return known._replace(state="running", epoch=epoch, expired=False, opened=number, runs=runs)


def queued(state: State, index: int, rules: Rules) -> Iterator[Step]:
    """A job waits: workers find it, one of them takes it up, or its caller cancels it."""
    known = state.generations[index]
    if known.state == "queued":
        if len(known.chosen) < 2:
            yield "worker finds it", state.put(index, known._replace(chosen=(*known.chosen, known.epoch)))
        yield "cancel", told(state.put(index, known._replace(state="final"), held=-HOLD), index, "error")
    for epoch in set(known.chosen):
        left = list(known.chosen)
        left.remove(epoch)
        idle = known._replace(chosen=tuple(left))
        yield "worker dies before it begins", state.put(index, idle)
        if known.state == "queued" and known.epoch == epoch:
            yield "begin", state.put(index, begun(idle, epoch))
        elif rules.one_begins:
            yield "another one was quicker", state.put(index, idle)
        elif known.state == "running":
            yield "begin", state.put(index, begun(idle, epoch))


def worked(state: State, index: int, run: Run, rules: Rules) -> Iterator[Step]:
    """The next step of a living worker, whether its lease still holds or not; and its death."""
    generation = state.generations[index]
    yield "crash", state.put(index, without(generation, run))
    match run.phase:
        case "held":
            yield "dispatch", state.put(index, moved(generation, run, "asked"))
        case "asked":
            yield "provider answers", state.put(index, moved(generation, run, "answered"))
            yield from voided(state, index, run, rules)
        case "answered":
            stored = generation.objects | {(run.epoch, run.number)}
            yield "store object", state.put(index, moved(generation, run, "stored")._replace(objects=stored))
        case "stored":
            yield from settled(state, index, run, rules)
        case answer:
            yield f"respond {answer}", told(state.put(index, without(generation, run)), index, answer)


def settled(state: State, index: int, run: Run, rules: Rules) -> Iterator[Step]:
    """A worker's image is stored: it captures, unless its generation was ended or taken over meanwhile."""
    generation = state.generations[index]
    if ends(generation, run.epoch, rules):
        won = captured(state, index, frozenset({(run.epoch, run.number)}))
        yield "settle", won.put(index, moved(won.generations[index], run, "image"))
    else:
        yield "late wake is fenced", state.put(index, without(generation, run))


def voided(state: State, index: int, run: Run, rules: Rules) -> Iterator[Step]:
    """The provider refused: the worker gives the hold back for good, unless somebody else ended its epoch."""
    generation = state.generations[index]
    if ends(generation, run.epoch, rules):
        row = moved(generation, run, "error")._replace(state="final")
        yield "provider refuses", state.put(index, row, held=-HOLD)
    else:
        yield "late wake is fenced", state.put(index, without(generation, run))


def ends(generation: Generation, epoch: int, rules: Rules) -> bool:
    """Compare and set: only an open generation is ended, and only by its own epoch."""
    return not rules.compare_and_set or (generation.state == "running" and generation.epoch == epoch)


def captured(state: State, index: int, images: Objects) -> State:
    generation = state.generations[index]
    row = generation._replace(state="captured", captures=generation.captures + 1, images=images)
    return state.put(index, row, posted=-PRICE, held=-HOLD)


def swept(state: State, index: int, rules: Rules) -> Iterator[Step]:
    """A sweeper lists the epoch's objects; later it rolls forward what it found, else voids the hold as lost."""
    generation = state.generations[index]
    if generation.looked is None:
        if generation.state == "running" and generation.expired:
            found = frozenset(name for name in generation.objects if name[0] == generation.epoch)
            yield "sweeper looks", state.put(index, generation._replace(looked=(generation.epoch, found)))
        return
    epoch, found = generation.looked
    idle = generation._replace(looked=None)
    yield "sweeper crashes", state.put(index, idle)
    if not ends(generation, epoch, rules):
        yield "sweeper comes late", state.put(index, idle)
    elif found:
        yield "sweeper rolls forward", captured(state, index, found)
    elif rules.jobs and epoch < rules.epochs:
        yield "sweeper queues it again", state.put(index, idle._replace(state="queued", epoch=epoch + 1))
    else:
        yield "sweeper voids", state.put(index, idle._replace(state="lost"), held=-HOLD)


def moved(generation: Generation, run: Run, phase: str) -> Generation:
    runs = tuple(other._replace(phase=phase) if other == run else other for other in generation.runs)
    return generation._replace(runs=runs)


def without(generation: Generation, run: Run) -> Generation:
    return generation._replace(runs=tuple(other for other in generation.runs if other != run))


def told(state: State, index: int, answer: str) -> State:
    generation = state.generations[index]
    return state.put(index, generation._replace(told=generation.told | {answer}))


def broken(state: State, rules: Rules) -> str | None:
    """The first invariant that does not hold here; the numbers are the contract's."""
    generations = state.generations
    captures = sum(g.captures for g in generations)
    if state.posted != rules.posted - PRICE * captures:
        return "I2: the balance is what was put in, less every capture"
    if state.held != HOLD * sum(g.is_open for g in generations):
        return "I3: held tokens are the holds of open generations"
    if not 0 <= state.held <= state.posted:
        return "I4: held tokens lie between zero and the balance"
    for generation in generations:
        if wrong := broken_generation(generation):
            return wrong
    for key in {key for key in rules.keys if key is not None}:
        if sum(g.captures for g, its in zip(generations, rules.keys, strict=True) if its == key) > 1:
            return "I10: one key is captured at most once"
    return None


def broken_generation(generation: Generation) -> str | None:
    if generation.captures > 1:
        return "I5: a generation is captured at most once"
    if (generation.state == "captured") != (generation.captures == 1):
        return "I6: a generation ends as captured exactly when it has a capture"
    if generation.captures and not (generation.images and generation.images <= generation.objects):
        return "I7: what is captured is stored"
    if len({run for _, run in generation.images}) > 1:
        return "I7: the images of one capture were made by one run"
    if len({run for _, run in generation.objects}) > len({epoch for epoch, _ in generation.objects}):
        return "I7: two runs never write under one epoch's names"
    if "image" in generation.told and not generation.captures:
        return "I8: an answer with an image is captured"
    if "error" in generation.told and generation.captures:
        return "I9: after a final error the balance is unchanged"
    return None
