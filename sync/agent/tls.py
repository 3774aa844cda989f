"""How the hub's and the broker's certificates are verified."""

from __future__ import annotations

import ssl
from pathlib import Path

# X509_V_FLAG_NO_CHECK_TIME of <openssl/x509_vfy.h>, which `ssl` does not name.
_NO_CHECK_TIME = 0x200000


def tls(ca: Path, is_clock_trusted: bool) -> ssl.SSLContext:
    """TLS 1.2 or later, towards a server whose certificate the authority in `ca` (PEM) has signed for its name.

    Where this machine's clock is not trusted the certificate's dates are passed over, and nothing else is. OSError
    where the file cannot be read.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not is_clock_trusted:
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context
