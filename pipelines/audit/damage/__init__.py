"""What an erasure lost beside its concept, drawn and judged as a part of an audit."""
