"""What TensorFlow Serving does between a request and a graph, and back: checks, plans of runs, answers. Pure."""
