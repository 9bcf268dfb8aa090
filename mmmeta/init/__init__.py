"""``mmmeta init``: looks at a folder as it is, and writes a config.yml and a project file that fit it."""
