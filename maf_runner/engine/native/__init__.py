"""The native engine: a whole update of the parameters in one call of a library of our own.

`describe` turns a model into plain numbers, `library` finds the compiled library and calls it, and
``src/`` holds the library's sources, which need nothing but a C++ compiler.
"""
