"""Shared by several commands: options, outputs, reports, and how errors and interrupts end a command."""
