"""RTSP cameras, against a server that speaks the protocol: credentials, loss, silence, a cut."""

from __future__ import annotations

import logging
import traceback
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from rtsp_server import Manners, RtspServer

from device.camera.camera import Camera, CameraRefused, CameraSilent, open_camera
from device.camera.rtsp_address import RtspAddress, parse_address
from device.camera.rtsp_describe import check_stream
from device.clock import SystemClock
from device.config import CameraConfig
from device.errors import CameraLost, ConfigError
from device.frame import Frame

LOGIN = "door:p%40ss%3Aw%2Ford@"
SECRETS = ("p@ss:w/ord", "p%40ss%3Aw%2Ford")


def opened(url: str) -> Camera:
    return open_camera(CameraConfig(source=url), SystemClock())


def patient(camera: Camera) -> Frame:
    """The next frame, however many short reads it takes; the server falls silent for ever in none of these."""
    for _ in range(100):
        try:
            return camera.read(0.25)
        except CameraSilent:
            continue
    raise AssertionError("no frame within 25 s")


def failure(camera: Camera) -> CameraLost:
    try:
        for _ in range(1000):
            patient(camera)
    except CameraLost as error:
        return error
    raise AssertionError("1000 frames and no failure")


def test_a_stream_yields_frames_in_order() -> None:
    with RtspServer() as server, closing(opened(server.url())) as camera:
        frames = [patient(camera) for _ in range(10)]
    assert {frame.pixels.shape for frame in frames} == {(240, 320, 3)}
    assert all(one.seq < two.seq and one.mono <= two.mono for one, two in pairwise(frames))
    assert not frames[0].pixels.flags.writeable


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_the_right_credentials_open_the_stream(scheme: str) -> None:
    with RtspServer(Manners(scheme=scheme)) as server, closing(opened(server.url(LOGIN))) as camera:
        assert patient(camera).pixels.shape == (240, 320, 3)
        assert server.logins_failed == 0


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_the_right_credentials_pass_our_own_question_too(scheme: str) -> None:
    with RtspServer(Manners(scheme=scheme)) as server:
        check_stream(parse_address(server.url(LOGIN)), 2.0)
        assert server.logins_failed == 0


def test_bad_credentials_are_refused_in_one_line_without_the_password(
        capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RtspServer(Manners(scheme="Digest", password="another")) as server:
        with closing(opened(server.url(LOGIN))) as camera:
            error = failure(camera)
            shown = [str(error), repr(error), camera.description, repr(camera), caplog.text,
                     "".join(traceback.format_exception(error)), *capfd.readouterr()]
        assert 1 <= server.logins_failed <= 2
    assert isinstance(error, CameraRefused)
    assert str(error) == f"rtsp://127.0.0.1:{server.port}/live: the camera refuses the name or the password; " \
                         "correct camera.source"
    assert not [secret for secret in SECRETS for text in shown if secret in text]


def test_missing_credentials_are_asked_for() -> None:
    with RtspServer(Manners(scheme="Basic")) as server, closing(opened(server.url())) as camera:
        error = failure(camera)
    assert isinstance(error, CameraRefused)
    assert "asks for a name and a password" in str(error)


def test_a_wrong_path_is_named() -> None:
    with RtspServer() as server, closing(opened(server.url().replace("live", "nothing"))) as camera:
        assert "has no stream of this path" in str(failure(camera))


def test_lost_packets_cost_pictures_but_not_the_connection() -> None:
    with RtspServer(Manners(lose_every=40)) as server, closing(opened(server.url())) as camera:
        frames = [patient(camera) for _ in range(40)]
        assert server.plays == 1
    assert frames[-1].seq >= 39


def test_so_much_loss_that_no_picture_is_whole_is_said_plainly() -> None:
    with RtspServer(Manners(lose_every=3)) as server, closing(opened(server.url())) as camera:
        assert str(failure(camera)).endswith("no picture arrives whole; packets are lost, check the network")


def test_a_cut_connection_is_a_lost_camera() -> None:
    with RtspServer(Manners(cut_after=40)) as server, closing(opened(server.url())) as camera:
        patient(camera)
        assert str(failure(camera)).endswith("the stream ended or fell silent")
        with pytest.raises(CameraLost):
            camera.read(0.1)


def test_a_silent_stream_is_a_lost_camera() -> None:
    with RtspServer(Manners(silent_after=40)) as server, closing(opened(server.url())) as camera:
        patient(camera)
        assert str(failure(camera)).endswith("the stream ended or fell silent")


def test_nobody_at_the_address_is_said_plainly(capfd: pytest.CaptureFixture[str]) -> None:
    with RtspServer() as server:
        url = server.url(LOGIN)
    with closing(opened(url)) as camera:
        assert "cannot be reached: Connection refused" in str(failure(camera))
    assert capfd.readouterr().err == ""


def test_something_else_than_a_camera_is_said_plainly() -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:
        def greet() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(1000)
                link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(CameraLost, match="not an RTSP camera"):
            check_stream(RtspAddress("127.0.0.1", listener.getsockname()[1]), 2.0)


def test_an_address_is_taken_apart_and_shown_without_credentials() -> None:
    address = parse_address(f"rtsp://{LOGIN}cam.example:8554/h264?user=admin&password=secret1")
    assert (address.name, address.password) == ("door", "p@ss:w/ord")
    assert address.shown == "rtsp://cam.example:8554/h264"
    assert address.secret_url == f"rtsp://{LOGIN}cam.example:8554/h264?user=admin&password=secret1"
    assert "p@ss" not in repr(address)
    assert parse_address("rtsp://[fe80::1]/x").shown == "rtsp://[fe80::1]/x"


def test_what_a_path_sets_is_not_shown() -> None:
    address = parse_address("rtsp://cam/live/user=admin_password=secret1_channel=1_stream=0.sdp?real_stream")
    assert address.shown == "rtsp://cam/live/..."
    assert address.request.endswith("/live/user=admin_password=secret1_channel=1_stream=0.sdp?real_stream")


def test_the_query_of_an_address_is_not_shown_by_its_repr() -> None:
    assert "secret1" not in repr(parse_address("rtsp://cam/h264?password=secret1"))


@pytest.mark.parametrize("url", [
    "rtsp://", "rtsp:///path", "rtsp://door:p%40ss%3Aw%2Ford@host:99999/", "rtsp://door:p%40ss%3Aw%2Ford@ho st/",
    "rtsp://door:p%40ss%3Aw%2Ford@-host/", "rtsp://door:p%40ss%3Aw%2Ford@host/\r\nX: y",
    "rtsp://door:" + "p%40ss%3Aw%2Ford" * 10 + "@host/",
    "rtsp://door:554/p%40ss%3Aw%2Ford@host/", "rtsp://door:55?p%40ss%3Aw%2Ford@host/", "rtsp://door:5#p%40ss@host/",
])
def test_a_bad_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    assert "\n" not in str(caught.value)
    assert not [secret for secret in SECRETS if secret in str(caught.value)]


def test_the_password_may_come_from_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "camera-password").write_text("p@ss:w/ord\n", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert parse_address("rtsp://door@cam/").password == "p@ss:w/ord"
    assert parse_address("rtsp://door:@cam/").password == ""
