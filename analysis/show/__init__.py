"""From quantities and verdicts to the page, Markdown and JUnit."""
