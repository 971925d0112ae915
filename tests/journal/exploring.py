"""Every reachable state of the ledger's model, nearest first, until one of them breaks an invariant."""

from collections import deque
from dataclasses import dataclass, field

from tests.journal.state_model import Generation, Rules, State, broken, steps


@dataclass
class Exploration:
    """What was found: `trace` holds the steps to the first state that breaks `violation`."""

    states: int = 0
    actions: set[str] = field(default_factory=set)
    violation: str | None = None
    trace: list[str] = field(default_factory=list)


def explore(rules: Rules) -> Exploration:
    """Every reachable state, nearest first; ends at the first one that breaks an invariant."""
    start = State(rules.posted, 0, tuple(Generation() for _ in rules.keys))
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    waiting, found = deque([start]), Exploration()
    while waiting and found.violation is None:
        state = waiting.popleft()
        found.states += 1
        found.violation = broken(state, rules)
        resting = True
        for action, reached in steps(state, rules):
            found.actions.add(action)
            resting = resting and reached == state
            if reached not in came_from:
                came_from[reached] = state, action
                waiting.append(reached)
        if found.violation is None and resting and state.held:
            found.violation = "I14: nothing is left to do, and tokens are held"
        if found.violation:
            found.trace = trace_to(state, came_from)
    return found


def trace_to(state: State, came_from: dict[State, tuple[State, str] | None]) -> list[str]:
    trace: list[str] = []
    while (before := came_from[state]) is not None:
        state, action = before
        trace.append(action)
    return trace[::-1]
