"""Families of evidence: state columns and one compiled kernel each. A file is a family."""
