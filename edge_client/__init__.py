"""The edge side: proxy, runner, journal, run file and report."""
