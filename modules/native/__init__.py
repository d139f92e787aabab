"""TensorFlow's C library through ctypes: the C++ model server's loader and session, without Python's TensorFlow.

A process that only serves starts in a fraction of a second this way, and no call holds the interpreter's lock.
"""
