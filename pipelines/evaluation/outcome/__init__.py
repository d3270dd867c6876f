"""What an evaluation found: records, tables, verdicts, cards."""
