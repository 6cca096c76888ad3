"""What several commands share: options, outputs, reports, and how errors and interrupts end a command."""
