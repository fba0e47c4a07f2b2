"""What people type and see: the ``folkmoot`` command.

A command turns words into one or two calls of the rooms below and prints what came back, for people or, with
``--json``, for programs. Nothing heavy is imported before a command needs it, so ``--help`` answers at once.
"""

from folkmoot.cli.app import main

__all__ = ["main"]
