"""TensorRT engines: how they are built from a bundle's graphs, and where they are kept."""
