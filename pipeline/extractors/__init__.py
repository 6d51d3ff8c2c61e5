"""One module per extractor behind one protocol (protocol.py), run in shards by runner.py."""
