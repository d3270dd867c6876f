"""Prompt suites: cases with what each should show."""
