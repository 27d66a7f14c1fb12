"""The applications: a public module here is a subcommand of `fieldsight`."""
