"""What happens in a run, and when: drawn from the seed before it begins, so that anything can be left out of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

FAULTS = (
    "kill",
    "freeze",
    "long freeze",
    "disk full",
    "unreadable",
    "restart",
    "takeover",
    "hang up",
    "stall",
    "expire",
    "clock jump",
    "power cut",
)
"""What is done to the server and its readers; questions, readers and stops are what it is for."""

HORIZON = 18.0
"""Virtual seconds in which all of it happens."""

LONG = 20.0
"""Seconds of a long freeze: longer than a lease, and than readers may be left without word."""


@dataclass(frozen=True)
class Action:
    """One thing that happens. ``number`` names its randomness: it draws the same whatever else is left out."""

    when: float
    kind: str
    number: int


@dataclass(frozen=True)
class Plan:
    """A whole run: how many processes there are, how many answers the model gives at once, and what happens."""

    seed: int
    processes: int
    capacity: int | None
    actions: tuple[Action, ...]
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL"

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Draw it."""
        random = Random(f"{seed}/plan")
        counts = {
            "ask": random.choice((1, 3, 6, 10)),
            "join": random.choice((0, 2, 6)),
            "stop": random.choice((0, 0, 1, 3)),
            "hang up": random.choice((0, 2, 8)),
            "stall": random.choice((0, 0, 2)),
            "kill": random.choice((0, 0, 1, 2)),
            "freeze": random.choice((0, 0, 1, 2)),
            "disk full": random.choice((0, 0, 0, 1, 2)),
            "unreadable": random.choice((0, 0, 0, 1)),
            "restart": random.choice((0, 0, 0, 1)),
            "takeover": random.choice((0, 0, 0, 1)),
            "expire": random.choice((0, 0, 1)),
        }
        actions: list[Action] = []
        for kind, count in counts.items():
            for _ in range(count):
                when = HORIZON * random.random() * (0.6 if kind == "ask" else 1.0)
                actions.append(Action(when, kind, len(actions)))
        rare = Random(f"{seed}/rare")
        for kind, chance in (
            ("long freeze", 0.08),
            ("stop elsewhere", 0.2),
            ("abandon", 0.15),
            ("clock jump", 0.1),
            ("read elsewhere", 0.15),
        ):
            if rare.random() < chance:
                actions.append(Action(HORIZON * rare.uniform(0.05, 0.5), kind, len(actions)))
        processes = random.choice((1, 2, 2, 3))
        capacity = random.choice((None, None, 1, 3))
        return cls(seed, processes, capacity, tuple(sorted(actions, key=lambda action: action.when)))

    @classmethod
    def with_power_cuts(cls, seed: int) -> Plan:
        """Draw it with one or two power cuts, and whether the log waits for the disk at every commit."""
        plan, random = cls.of(seed), Random(f"{seed}/power")
        cuts = [
            Action(HORIZON * random.uniform(0.1, 0.9), "power cut", len(plan.actions) + one)
            for one in range(random.choice((1, 1, 2)))
        ]
        actions = tuple(sorted((*plan.actions, *cuts), key=lambda action: action.when))
        return replace(plan, actions=actions, synchronous=random.choice(("NORMAL", "FULL")))

    @property
    def horizon(self) -> float:
        """Virtual seconds until the faults are over."""
        return HORIZON + LONG * any(action.kind == "long freeze" for action in self.actions)

    def without(self, numbers: set[int]) -> Plan:
        """Return the plan with these actions left out."""
        left = tuple(action for action in self.actions if action.number not in numbers)
        return replace(self, actions=left)
