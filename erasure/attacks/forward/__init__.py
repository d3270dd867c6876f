"""Attacks that take no gradient: they only draw."""
