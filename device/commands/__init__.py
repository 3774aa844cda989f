"""The subcommands of doorctl, one noun per module.

Each module has `add_parser(commands)`, which adds its argparse parsers and sets `run=`, and functions
`run(arguments) -> int` that give the exit code: 0 done, 1 refused or failed, 2 wrong usage or configuration.
They raise TerminalError for anything that ends in one line; `device.cli` prints it.
"""
