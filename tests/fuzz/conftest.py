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
    total = f"{sum(EXECUTIONS.values()):,} inputs of {len(EXECUTIONS)} tests"
    terminalreporter.write_line(f"fuzzing: {total}, findings: {len(findings)}")
