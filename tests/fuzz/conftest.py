"""Says at the end how many inputs were tried, and in a long run of which test."""

from support.fuzzing import EXECUTIONS, is_long, summary


def pytest_terminal_summary(terminalreporter):
    if not EXECUTIONS:
        return
    failed = terminalreporter.stats.get("failed", [])
    findings = [report.nodeid for report in failed if "tests/fuzz" in report.nodeid]
    if is_long() or findings:
        terminalreporter.section("fuzzing")
        for line in summary():
            terminalreporter.write_line(line)
    inputs = f"fuzzing: {sum(EXECUTIONS.values()):,} inputs"
    terminalreporter.write_line(f"{inputs}, {len(findings) or 'no'} tests found something")
