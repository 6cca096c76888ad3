"""The fused decoder: decoder_step's loop as one kernel, fused_decoder.cu; docs/fused-decoder.md explains it."""
