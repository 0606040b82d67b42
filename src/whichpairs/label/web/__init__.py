"""The labelling page: people answer pairs in a browser, an owner watches."""
