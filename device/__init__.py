"""The terminal: from a camera's frames to the door's relay, complete without a cloud."""
