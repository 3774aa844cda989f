"""The subcommands of fleethub, one noun per module; the same form as `device.commands`."""
