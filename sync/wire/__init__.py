"""What terminals and hub say to each other: messages, their encoding, topics, signatures, seals and digests."""
