"""TensorRT engines: built from a bundle's graphs, cached, and run on a GPU."""
