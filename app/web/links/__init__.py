"""The pages behind the links in messages: what a link would do on GET, and doing it on POST."""
