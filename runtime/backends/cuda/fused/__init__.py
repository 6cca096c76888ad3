"""The fused decoder: decoder_step's loop as one kernel, fused_decoder.cu; docs/design-notes/fused-decoder.md explains it."""
