"""Which implementation a run tests, said at its start and proven at its end."""

from __future__ import annotations

import os
import signal
import sys

import pytest

import cello

IS_PURE_RUN = os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0")

# A shell's background job ignores SIGINT, and whatever it starts inherits that: no test could press Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def compiled_modules() -> list[str]:
    """Return the compiled modules of Cello that this process has loaded."""
    return sorted(
        name
        for name, module in sys.modules.items()
        if name.startswith("cello.")
        and (name.endswith("_c") or str(getattr(module, "__file__", "")).endswith((".so", ".pyd")))
    )


def pytest_report_header() -> str:
    return f"cello: {cello.IMPLEMENTATION} implementation, from {os.path.dirname(cello.__file__)}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run under CELLO_NO_EXTENSIONS in which any compiled module of Cello was loaded, by whomever."""
    loaded = compiled_modules() if IS_PURE_RUN else []
    if loaded:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"\nthis was to be a pure run, but it loaded {', '.join(loaded)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
