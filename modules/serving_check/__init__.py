"""Does a SavedModel serve? Loads it the way the C++ server does, asks it real requests, times it.

Runs in a process of its own (`python -m modules.serving_check`), which imports TensorFlow and nothing of TFX.
"""
