"""What a visitor can be asked to do, and what screen and voice say for it: one table.

Read by `face.pad.challenge`, the kiosk, `doorctl liveness` and the hub. The words are said as they are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """Left and right are the visitor's own."""

    BLINK = "blink"
    OPEN_MOUTH = "open_mouth"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    LOOK_UP = "look_up"
    LOOK_DOWN = "look_down"
    NOD = "nod"
    SHAKE = "shake"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row. limit_s is the time from the prompt to the finished action, people with slow movements included."""

    action: Action
    en: str
    zh: str
    limit_s: float

    def text(self, language: str) -> str:
        """What the screen shows and the voice says; `language` is en or zh."""
        return self.zh if language == "zh" else self.en


PROMPTS: dict[Action, Prompt] = {row.action: row for row in (
    Prompt(Action.BLINK, "Blink once", "请眨眼", 4.0),
    Prompt(Action.OPEN_MOUTH, "Open your mouth", "请张嘴", 4.0),
    Prompt(Action.TURN_LEFT, "Turn your head to the left", "请向左转头", 5.0),
    Prompt(Action.TURN_RIGHT, "Turn your head to the right", "请向右转头", 5.0),
    Prompt(Action.LOOK_UP, "Look up", "请抬头", 5.0),
    Prompt(Action.LOOK_DOWN, "Look down", "请低头", 5.0),
    Prompt(Action.NOD, "Nod", "请点头", 5.0),
    Prompt(Action.SHAKE, "Shake your head", "请摇头", 6.0),
)}

LOOK_AHEAD = {"en": "Look straight ahead", "zh": "请正视前方"}
TURN_A_LITTLE = {"en": "Turn your head a little", "zh": "请轻轻转动头部"}

FACE_ACTIONS = (Action.BLINK, Action.OPEN_MOUTH)
"""Parts of the face move, which no picture can do however it is held."""

POSE_ACTIONS = tuple(action for action in Action if action not in FACE_ACTIONS)
"""The whole head moves. A picture in a hand moves too, so these count only with the rigid-plane test."""
