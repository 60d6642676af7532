"""Says at the end how many inputs were tried."""

from support.fuzzing import EXECUTIONS, summary


def pytest_terminal_summary(terminalreporter):
    if EXECUTIONS:
        terminalreporter.section("fuzzing")
        for line in summary():
            terminalreporter.write_line(line)
