"""The bundle: its manifest, reading it, the contract that its graphs must meet, and writing a folder atomically."""
