"""Diagnosis: which bug would produce exactly this curve."""
