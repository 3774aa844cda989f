"""What people show besides their face: PINs, cards, QR passes. What a reader took in becomes a credential here.

Everything that comes is hostile until it has been read. Whom a credential belongs to is looked up by the desk; what
it opens is the policy's to say. The readers themselves are in `device.hardware`; the camera serves as that of QR
codes.
"""
