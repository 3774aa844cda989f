"""The visitor's strings, in English and Chinese."""

from __future__ import annotations

from device.face.pad.action import LOOK_AHEAD, TURN_A_LITTLE
from device.sighting import Hint

VISITOR: dict[str, tuple[str, str]] = {
    "screen.title": ("Door", "门禁"),
    "screen.ready": ("Please look at the camera", "请正对镜头"),
    "screen.looking": ("One moment", "请稍候"),
    "screen.lost": ("Out of order. Please use another way in", "设备故障，请使用其他方式"),
    "screen.no_picture": ("No camera picture", "无摄像头画面"),
    "screen.degraded": ("Faces are not recognised now. Please use another way in", "暂不可识别人脸，请使用其他方式"),
    "screen.welcome": ("Welcome, {name}", "欢迎，{name}"),
    "screen.light": ("Look at the screen and hold still", "请注视屏幕并保持不动"),
    "shape.ready": ("Ready", "就绪"),
    "shape.looking": ("Looking", "识别中"),
    "shape.ask": ("Please", "请"),
    "shape.granted": ("Granted", "允许通行"),
    "shape.refused": ("Refused", "拒绝通行"),
    "shape.alarm": ("Alarm", "报警"),
    "shape.free": ("Free", "自由通行"),
    "shape.locked": ("Locked", "已封锁"),
    "shape.fault": ("Fault", "故障"),
    "way.other": ("Other ways in", "其他通行方式"),
    "way.face": ("Face", "人脸"),
    "way.card": ("Card", "刷卡"),
    "way.pin": ("PIN", "密码"),
    "way.qr": ("QR pass", "通行码"),
    "way.show_card": ("Hold your card to the reader", "请将卡片贴近读卡器"),
    "way.show_qr": ("Hold your pass in front of the camera", "请将通行码对准摄像头"),
    "way.then": ("Now also: {ways}", "还需：{ways}"),
    "pin.enter": ("Enter your number and PIN", "请输入编号和密码"),
    "pin.only": ("Enter your PIN", "请输入密码"),
    "pin.number": ("Number", "编号"),
    "pin.pin": ("PIN", "密码"),
    "pin.clear": ("Clear", "清除"),
    "pin.delete": ("Delete one digit", "删除一位"),
    "pin.ok": ("OK", "确定"),
    "pin.sent": ("Checking", "正在核对"),
    "bell.ring": ("Bell", "门铃"),
    "bell.rung": ("The bell has rung", "门铃已响"),
    "attendance.in": ("Coming in", "上班"),
    "attendance.out": ("Going out", "下班"),
    "attendance.look": ("Now look at the camera", "请正对镜头"),
    "attendance.kept": ("Your time is recorded", "考勤已记录"),
    "privacy.open": ("Privacy", "隐私"),
    "privacy.title": ("How your face is used", "人脸信息使用说明"),
    "privacy.how": ("The picture is compared here, on this device, and is not kept.",
                    "图像仅在本设备上比对，不予保存。"),
    "privacy.purpose": ("Purpose", "用途"),
    "privacy.retention": ("Kept for", "保存期限"),
    "privacy.contact": ("Contact", "联系方式"),
    "privacy.unsaid": ("Not stated here. Please ask whoever runs this door", "此处未注明，请咨询门禁管理方"),
    "privacy.choice": ("You need not use your face: every other way in works as well.",
                       "您可以不使用人脸，其他通行方式同样有效。"),
    "more.open": ("More", "更多"),
    "more.enrol": ("Enrol a face", "录入人脸"),
    "more.own": ("My data", "我的信息"),
    "more.setup": ("Installer", "安装维护"),
}

HINTS: dict[Hint, tuple[str, str]] = {
    Hint.COME_CLOSER: ("Come closer", "请靠近一些"),
    Hint.STEP_BACK: ("Step back a little", "请后退一些"),
    Hint.LOOK_AT_CAMERA: ("Look at the camera", "请正对镜头"),
    Hint.HOLD_STILL: ("Hold still", "请保持不动"),
    Hint.MORE_LIGHT: ("More light on your face, please", "光线不足，请面向光源"),
    Hint.LESS_LIGHT: ("Too bright: turn away from the light", "光线过强，请避开强光"),
    Hint.SHOW_WHOLE_FACE: ("Show your whole face", "请露出完整面部"),
    Hint.ONE_AT_A_TIME: ("One person at a time", "请逐一通行"),
    Hint.TURN_A_LITTLE: (TURN_A_LITTLE["en"], TURN_A_LITTLE["zh"]),
    Hint.DO_CHALLENGE: (LOOK_AHEAD["en"], LOOK_AHEAD["zh"]),
}


def hint_key(hint: Hint, action: str = "") -> str:
    """The key of what a visitor is asked to do; "" where nothing is."""
    if hint is Hint.DO_CHALLENGE and action:
        return f"action.{action}"
    return "" if hint is Hint.NONE else f"hint.{hint.value}"
