"""`relay_child.py SOCKET`: the relay with mock pins, which says the state of the pin whenever its peer has gone."""

from __future__ import annotations

import json
import socket
import sys
import time

from device.clock import SystemClock
from device.hardware.coil import Coil
from device.hardware.pins import open_factory, open_output
from device.hardware.relay import serve


def main() -> None:
    factory = open_factory()
    coil = Coil(open_output(factory, 17, active_low=False), SystemClock())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(sys.argv[1])
        listener.listen(1)
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        while True:
            serve(listener.accept()[0], coil)
            sys.stdout.write(json.dumps({"mono": time.monotonic(), "state": int(factory.pin(17).state)}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
