"""The engines' rows, one module each: names, release, options, cache types, command line. Light: no rules in them."""
