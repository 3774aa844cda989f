"""Who must pass together: the two-person rule and the escort. Pure; called by the policy.

    two persons  nobody whom a rule with `persons` admits passes until so many different ones have shown themselves
                 within `combine_s` of one another; then all of them pass at once
    escort       a person whose rule names an escort's group passes once somebody of that group was admitted here
                 within `combine_s`; an escort who comes second takes along whoever waits
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from device.door.decision import Company, Memory, Now
from device.door.memory import with_company
from device.door.rules import Site
from device.store.records import AccessRule, Person


@dataclass(frozen=True, slots=True)
class Party:
    """Those who pass together with a person, or why they must wait ("" = they need not)."""

    others: tuple[Company, ...] = ()
    reason: str = ""


def party(person: Person, rule: AccessRule, memory: Memory) -> Party:
    """Whether the company that a rule demands is there, and who passes along."""
    present = tuple(one for one in memory.company if one.person_id != person.person_id)
    waiting = tuple(one for one in present if not one.is_granted)
    if rule.escort is not None and not any(one.is_granted and rule.escort in one.groups for one in present):
        return Party(reason="escort_needed")
    guests = tuple(one for one in waiting if one.escort is not None and one.escort in person.groups)
    partners = tuple(one for one in waiting if one.escort is None)
    if rule.persons > 1:
        if len(partners) < rule.persons - 1:
            return Party(reason="company_needed")
        return Party((*partners[1 - rule.persons:], *guests))
    return Party(guests)


def waits(person: Person, rule: AccessRule, site: Site, memory: Memory, now: Now, is_duress: bool) -> Memory:
    """The person's proofs are complete, and they wait for company; one who has just passed waits for nobody."""
    if any(one.person_id == person.person_id and one.is_granted for one in memory.company):
        return memory
    return with_company(memory, Company(person.person_id, person.groups, now.mono + site.combine_s, False,
                                        rule.escort, is_duress))


def passes(person: Person, others: tuple[Company, ...], site: Site, memory: Memory, now: Now) -> Memory:
    """All of them were admitted now."""
    until = now.mono + site.combine_s
    own = Company(person.person_id, person.groups, until, True)
    return with_company(memory, *(replace(one, until_mono=until, is_granted=True) for one in others), own)
