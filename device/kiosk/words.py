"""Every string that a page shows, in English and Chinese, in one catalogue.

A key is `part.name`. Each room has its own strings in its folder; reasons, hints and actions come from their own
tables under the keys `reason.CODE`, `hint.NAME` and `action.NAME`, so that no text is written twice. A page gets the
whole catalogue once and is told keys from then on: whoever stands there changes the language without asking anybody.
"""

from __future__ import annotations

from functools import cache

from device.door.reasons import REASONS
from device.face.pad.action import PROMPTS
from device.kiosk.enrolment.words import ENROLMENT
from device.kiosk.own.words import OWN
from device.kiosk.setup.words import SETUP
from device.kiosk.visitor.words import HINTS, VISITOR

LANGUAGES = ("en", "zh")

PAGE: dict[str, tuple[str, str]] = {
    "page.back": ("Back", "返回"),
    "page.cancel": ("Cancel", "取消"),
    "page.done": ("Done", "完成"),
    "page.home": ("Back to the door", "返回门禁"),
    "page.refused": ("That was not possible", "操作未成功"),
    "page.bad_text": ("Please use 1 to 100 ordinary characters", "请输入1至100个普通字符"),
    "page.bad_digits": ("Please check the digits", "请检查数字"),
    "page.too_fast": ("One at a time, please", "操作过快，请稍候"),
    "page.busy": ("The door is busy. Please try again", "设备繁忙，请重试"),
    "page.session_over": ("This page has closed. Please begin again", "页面已超时，请重新开始"),
    "page.unreachable": ("The terminal does not answer", "设备无响应"),
    "page.picture": ("Picture of the camera", "摄像头画面"),
    "page.seconds_left": ("Closes in {n} s", "{n} 秒后关闭"),
    "language.other": ("中文", "English"),
    "keyboard.space": ("Space", "空格"),
    "keyboard.hide": ("Hide keyboard", "收起键盘"),
    "keyboard.delete": ("Delete one character", "删除一个字符"),
    "keyboard.shift": ("Capital letters", "大写字母"),
    "keyboard.digits": ("Digits and signs", "数字和符号"),
    "keyboard.letters": ("Letters", "字母"),
}


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Every key with its text in every language."""
    rows: dict[str, tuple[str, str]] = {**PAGE, **VISITOR, **ENROLMENT, **OWN, **SETUP}
    rows.update({f"hint.{hint.value}": texts for hint, texts in HINTS.items()})
    rows.update({f"action.{action.value}": (prompt.en, prompt.zh) for action, prompt in PROMPTS.items()})
    rows.update({f"reason.{code}": (row.en, row.zh) for code, row in REASONS.items()})
    return {key: dict(zip(LANGUAGES, texts, strict=True)) for key, texts in rows.items()}
