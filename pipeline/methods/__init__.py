"""One file per method; the file name is the name in params.yaml. See CONTRIBUTING.md, "Add a method"."""
