"""Scores for people: tables (HTML, Markdown, terminal), curves, and the pages that hold them."""
