"""The fused decoder: decoder_step's loop as one kernel; docs/design-notes/fused-decoder.md explains it."""
