"""The one table of reasons: every code that the terminal shows, sounds or writes, in one place.

Read by the policy and the machine for codes, by the app for texts, lights, sounds and the journal's kind.
`light` and `sound` name patterns of `device.hardware.signals`; "" means none. `door` states what the door does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from device.store.records import NewEntry

Plain = str | int | float | bool | None


class Severity(Enum):
    GRANT = "grant"
    REFUSAL = "refusal"
    ALARM = "alarm"
    INFO = "info"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Reason:
    """One row. kind is the word that the journal files it under."""

    code: str
    severity: Severity
    kind: str
    en: str
    zh: str
    light: str
    sound: str
    door: str

    def text(self, language: str) -> str:
        """The visitor's text; `language` is en or zh."""
        return self.zh if language == "zh" else self.en


_RELEASED = "is released for the person's seconds"
_STAYS = "stays as it is"


def _grant(code: str, en: str, zh: str, door: str = _RELEASED) -> Reason:
    return Reason(code, Severity.GRANT, "release", en, zh, "green", "granted", door)


def _refusal(code: str, en: str, zh: str, door: str = "stays secure") -> Reason:
    return Reason(code, Severity.REFUSAL, "refusal", en, zh, "red", "refused", door)


def _ask(code: str, en: str, zh: str) -> Reason:
    return Reason(code, Severity.REFUSAL, "refusal", en, zh, "amber", "ask", "stays secure until the rest is shown")


def _alarm(code: str, en: str, zh: str, door: str, *, light: str = "alarm", sound: str = "alarm") -> Reason:
    return Reason(code, Severity.ALARM, "alarm", en, zh, light, sound, door)


def _info(code: str, kind: str, en: str, zh: str, door: str = "stays as it is", *, light: str = "") -> Reason:
    return Reason(code, Severity.INFO, kind, en, zh, light, "", door)


def _fault(code: str, en: str, zh: str, door: str) -> Reason:
    return Reason(code, Severity.FAULT, "fault", en, zh, "fault", "", door)


_NO_FACES = "stays as it is; no face is recognised, every other way in works"
_GOES_ON = "goes on as before"

_ROWS = (
    # who passes
    _grant("face_granted", "Welcome", "欢迎"),
    _grant("card_granted", "Welcome", "欢迎"),
    _grant("pin_granted", "Welcome", "欢迎"),
    _grant("pass_granted", "Welcome", "欢迎"),
    _grant("combined_granted", "Welcome", "欢迎"),
    _grant("exit_granted", "Goodbye", "再见"),
    _grant("command_release", "Door released", "门已释放", "is released for the command's seconds"),
    _grant("rex_release", "Door released", "门已释放", "is released for the exit's seconds; opening is not forced"),
    # who does not
    _refusal("unknown_face", "Not recognised", "未识别"),
    _refusal("attack", "Please show your own face", "请本人正对镜头"),
    _refusal("not_proved", "Please use another way in", "未能确认真人"),
    _refusal("poor_picture", "Please look at the camera", "请正对镜头"),
    _refusal("unknown_card", "Card not known", "未知卡片"),
    _refusal("wrong_pin", "Wrong PIN", "密码错误"),
    _refusal("bad_pass", "Pass not valid", "通行码无效"),
    _refusal("pass_elsewhere", "Pass is for another door", "通行码不适用于此门"),
    _refusal("pass_used", "Pass was used already", "通行码已使用"),
    _refusal("pass_revoked", "Pass was withdrawn", "通行码已作废"),
    _refusal("no_person", "No longer enrolled", "人员已注销"),
    _refusal("not_yet_valid", "Not valid yet", "尚未生效"),
    _refusal("expired", "No longer valid", "已过有效期"),
    _refusal("blocked", "No access", "禁止通行"),
    _refusal("no_rule", "No access at this door", "无此门权限"),
    _refusal("outside_schedule", "Not at this time", "非通行时段"),
    _refusal("schedule_missing", "No access: schedule missing", "缺少时段设置"),
    _refusal("method_not_allowed", "Please use another way in", "请使用其他方式"),
    _ask("more_needed", "Please show your second proof", "请出示第二凭证"),
    _ask("company_needed", "Second person, please", "请第二人验证"),
    _ask("escort_needed", "Waiting for your escort", "请等待陪同人员验证"),
    _refusal("passback", "In and out do not match", "反潜回：进出记录不符"),
    _refusal("area_full", "Area is full", "区域人数已满"),
    _refusal("interlock", "Please close the other door", "请先关闭另一扇门"),
    _refusal("locked_out", "Too many tries, please wait", "尝试过多，请稍候"),
    _refusal("clock_untrusted", "Clock not set: no timed access", "时钟未校准，暂不可通行"),
    _refusal("not_recorded", "Cannot be recorded", "无法记录，不予放行"),
    _refusal("lockdown", "Door is locked down", "门已封锁", "stays secure for all but fire and exit"),
    _refusal("command_refused", "Command refused", "命令被拒绝", _STAYS),
    # what the door does
    _info("ready", "door", "Please look at the camera", "请正对镜头", "is secure", light="off"),
    _info("door_opened", "door", "Door open", "门已打开", "locks again as soon as it opens, where so set"),
    _info("open_at_start", "door", "Door open", "门已打开", "counts as open, not as forced"),
    _info("entered", "passage", "Entered", "进入", _STAYS),
    _info("left", "passage", "Left", "离开", _STAYS),
    _info("bell", "door", "Somebody rings", "有人按铃"),
    _info("access_not_taken", "door", "Door not opened", "门未打开", "is secure again"),
    _info("held_cleared", "door", "Door closed", "门已关闭", "is secure again"),
    _info("forced_cleared", "door", "Door closed", "门已关闭", "is secure again"),
    _info("tamper_cleared", "door", "Cover closed", "防拆已复位"),
    _alarm("held_warning", "Please close the door", "请关门", "stays as it is", light="amber_blink",
           sound="warning"),
    _alarm("held_open", "Door held open", "门开启超时", "stays as it is; alarm until it closes"),
    _alarm("forced_open", "Door forced open", "门被强行打开", "is secure; alarm until it closes or is reset"),
    _alarm("tamper", "Terminal tampered with", "设备被拆动", _STAYS),
    _alarm("fire_free", "Fire: door is free", "火警：门已释放", "is free until reset at the door",
           light="green_blink", sound="fire"),
    _info("fire_ended", "door", "Fire alarm reset", "火警已复位", "returns to its mode"),
    _info("mode_free", "mode", "Door is free", "自由通行", "is released until the mode ends", light="green_steady"),
    _info("mode_lockdown", "mode", "Door is locked down", "门已封锁", "refuses all but fire and exit",
          light="red_steady"),
    _info("mode_normal", "mode", "Normal operation", "正常模式", "is secure"),
    _info("command_done", "command", "Command done", "命令已执行"),
    _info("reset", "command", "Alarm reset", "报警已复位", "alarm and fire end; the door returns to its mode"),
    # alarms about people
    _alarm("lockout_alarm", "Too many failed tries", "连续尝试失败", "stays secure; that way is locked out"),
    _alarm("blocked_seen", "Blocked person at the door", "黑名单人员到访", "stays secure", light="", sound=""),
    _alarm("duress", "Duress", "胁迫报警", "is released as if nothing were wrong; the alarm is silent",
           light="", sound=""),
    _alarm("passback_violated", "Passed against anti-passback", "违反反潜回通行", "is released; only written",
           light="", sound=""),
    # the terminal itself
    _info("started", "start", "Starting", "正在启动", "stays secure"),
    _info("stopped", "stop", "Stopped", "已停止", "is secure: the relay falls"),
    _info("restored", "fault", "Working again", "已恢复正常", "is not released by a return"),
    _info("gallery_loaded", "gallery", "Faces loaded", "人脸库已加载", _GOES_ON),
    _info("config_changed", "config", "Settings changed", "设置已更改", _GOES_ON),
    _info("clock_set", "config", "Clock put right", "时钟已校正", _GOES_ON),
    _info("config_refused", "config", "Settings refused", "设置被拒绝", _GOES_ON),
    _info("policy_changed", "config", "Access rules changed", "通行规则已更改", _GOES_ON),
    _info("evidence_kept", "evidence", "Picture of an attack kept", "已保存攻击画面", _GOES_ON),
    _info("enrolled", "person", "Person enrolled", "已录入人员", _GOES_ON),
    _info("removed", "person", "Person removed", "已删除人员", _GOES_ON),
    _info("corrected", "person", "Person's name corrected", "已更正姓名", _GOES_ON),
    _info("consent_withdrawn", "person", "Consent withdrawn", "已撤回同意", _GOES_ON),
    _info("person_request", "person", "Person's request taken", "已受理本人请求", _GOES_ON),
    _info("own_page_refused", "person", "Person's page refused", "本人页面验证失败", _GOES_ON),
    _info("attendance", "attendance", "Time recorded", "考勤已记录", _GOES_ON),
    _info("setup_entered", "setup", "Setup opened", "已进入设置", _GOES_ON),
    _info("setup_refused", "setup", "Setup PIN wrong", "设置密码错误", _GOES_ON),
    _alarm("setup_locked", "Setup PIN guessed at", "设置密码多次错误", "goes on; the installer's page is shut",
           light="", sound=""),
    _fault("gallery_empty", "Nobody is enrolled", "尚未录入人员", "refuses everyone"),
    _fault("gallery_rebuilt", "Face store damaged, set aside", "人脸库损坏，已重建", "refuses whoever was lost"),
    _fault("gallery_unreadable", "Face store cannot be read", "人脸库无法读取", "goes on with what is in memory"),
    _fault("model_mismatch", "Recognition model not usable", "识别模型不可用", _NO_FACES),
    _fault("camera_lost", "Camera lost", "摄像头断开", _NO_FACES),
    _fault("camera_frozen", "Camera picture frozen", "画面静止", _NO_FACES),
    _fault("camera_dark", "Camera picture dark", "画面过暗", _NO_FACES),
    _fault("camera_bright", "Camera picture too bright", "画面过曝", _NO_FACES),
    _fault("camera_covered", "Camera covered", "摄像头被遮挡", _NO_FACES),
    _fault("no_passive_network", "Liveness networks missing", "活体检测网络缺失",
           "stays as it is; every visitor gets a challenge"),
    _fault("liveness_drifted", "Liveness: commission again", "活体检测需重新调试", _GOES_ON),
    _fault("infrared_lost", "Infrared camera lost", "红外摄像头断开", _GOES_ON),
    _fault("vision_silent", "Recognition does not answer", "识别无响应", _NO_FACES),
    _fault("journal_failed", "Journal cannot be written", "日志无法写入",
           "goes on, or refuses where the journal must come first"),
    _fault("journal_set_aside", "Journal was damaged, set aside", "日志损坏，已另存", _GOES_ON),
    _fault("disk_full", "Disk full", "存储已满", "goes on; the journal's reserve is used"),
    _fault("relay_lost", "Lock relay lost", "锁继电器断开", "is secure: the relay falls; wired exit works"),
    _fault("rex_stuck", "Exit button stuck", "出门按钮卡住", "is not released by it; openings are forced again"),
    _fault("input_chatters", "A wired input chatters", "输入信号抖动", "goes on; have the wire looked at"),
    _fault("reader_lost", "Reader lost", "读卡器断开", "stays as it is; every other way in works"),
    _fault("controller_lost", "Access controller lost", "门禁控制器断开", _GOES_ON),
    _info("osdp_pairing", "config", "Reader may be paired now", "读卡器可配对", _GOES_ON),
    _info("osdp_paired", "config", "Reader paired", "读卡器已配对", _GOES_ON),
    _fault("hub_silent", "Hub silent", "与平台失联", "goes on with whom it knows"),
    _fault("clock_lost", "Clock not trusted", "时钟不可信", "refuses timed access"),
)

REASONS = MappingProxyType({row.code: row for row in _ROWS})


def reason(code: str) -> Reason:
    """The row of `code`; KeyError where the table has none."""
    return REASONS[code]


def entry(code: str, person_id: str | None = None, /, **detail: Plain) -> NewEntry:
    """A journal entry for `code`, filed under the table's kind; details that are None are left out."""
    plain = tuple((name, value) for name, value in detail.items() if value is not None)
    return NewEntry(REASONS[code].kind, code, person_id, plain)
