"""Where settings come from besides the application's own code, and which of them holds.

Precedence: the command line, run()'s arguments, CELLO_* variables, the configuration file, the defaults. Each
is a layer: what it says of which setting, and under which name a user finds it there. Groups such as
``timeout`` are laid over each other field by field.
"""
