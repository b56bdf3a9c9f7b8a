"""The built-in middlewares, one a file: what ``App.enable_...`` switches on.

They work on answers on their way out (``_speedups/filters_py.py``), outside of whatever an application
registers itself, so that errors, 404s and refusals pass through them too.
"""
