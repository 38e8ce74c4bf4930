"""The pages on which an account's owner logs in again: what a link asks for on GET, and the way there on POST."""
